"""What QGIS, or GDAL alone, sees in files; run by the Python that QGIS is installed for, without geoseg.

`look.py layers FOLDER WIDTH HEIGHT LEFT BOTTOM RIGHT TOP FILE...` draws each file into FOLDER/NAME.png and prints, as
JSON, its renderer, the names of its layers and its legend. `look.py table FILE` prints the raster's attribute table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def layers(folder: str, width: str, height: str, *rest: str) -> dict[str, object]:
    from qgis.core import QgsApplication, QgsRectangle

    app = QgsApplication([], False)
    app.initQgis()
    extent = QgsRectangle(*map(float, rest[:4]))
    return {Path(path).name: look(path, Path(folder), int(width), int(height), extent) for path in rest[4:]}


def look(path: str, folder: Path, width: int, height: int, extent: object) -> dict[str, object]:
    from qgis.core import (
        QgsLayerTreeLayer,
        QgsMapRendererSequentialJob,
        QgsMapSettings,
        QgsProviderRegistry,
        QgsRasterLayer,
        QgsVectorLayer,
    )
    from qgis.PyQt.QtCore import QSize, Qt
    from qgis.PyQt.QtGui import QColor

    raster = path.endswith(".tif")
    layer = QgsRasterLayer(path, "map") if raster else QgsVectorLayer(path, "map", "ogr")
    if not layer.isValid():
        raise SystemExit(f"QGIS cannot open {path}: {layer.error().summary()}")
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(extent)
    settings.setOutputSize(QSize(width, height))
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(folder / f"{Path(path).name}.png"))
    nodes = layer.legend().createLayerTreeModelLegendNodes(QgsLayerTreeLayer(layer))
    names = [] if raster else QgsProviderRegistry.instance().providerMetadata("ogr").querySublayers(path)
    return {
        "renderer": layer.renderer().type(),
        "layers": [one.name() for one in names],
        "legend": [node.data(Qt.DisplayRole) for node in nodes if node.data(Qt.DisplayRole)],
        "crs": layer.crs().authid(),
    }


def table(path: str) -> list[dict[str, str]]:
    from osgeo import gdal

    dataset = gdal.Open(path)
    found = dataset.GetRasterBand(1).GetDefaultRAT()
    columns = range(found.GetColumnCount())
    return [
        {found.GetNameOfCol(col): found.GetValueAsString(row, col) for col in columns}
        for row in range(found.GetRowCount())
    ]


if __name__ == "__main__":
    print(json.dumps({"layers": layers, "table": table}[sys.argv[1]](*sys.argv[2:])))
