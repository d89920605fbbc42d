"""The catalog: provider files, read strictly; the bundled ones first, then the owner's."""
