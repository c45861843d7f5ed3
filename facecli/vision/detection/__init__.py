"""Finding faces: SCRFD over letterboxed photos, further looks at them, and what several looks come to."""
