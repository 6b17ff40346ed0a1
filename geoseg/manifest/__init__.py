"""Lists of scenes, in whatever form people keep them: one module a form, all of them give entries."""
