package main

import (
	"fmt"
	"path/filepath"

	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
)

// cocoLabels are the names of a plain model's classes where the annotations are
// COCO's own; "" leaves them to the model.
func cocoLabels(f *coco.File) string {
	for _, name := range infer.COCO() {
		if f.CategoryOf(name) == nil {
			return ""
		}
	}
	return "coco"
}

// annotated are the files that the annotations have an image for.
func annotated(f *coco.File, dirs, files []string) ([]string, error) {
	var out []string
	for _, path := range files {
		if _, err := f.Find(filepath.Dir(path), path); err == nil {
			out = append(out, path)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("none of the %d pictures of %v is an image of %s: give --images the folder that the annotations are about", len(files), dirs, f.Path)
	}
	return out, nil
}
