package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/vision"
)

// cocoIDs are the ids of an annotation file in COCO's format
// (cocodataset.org/#format-data).
type cocoIDs struct {
	file       string
	images     map[string]int64 // by file name and by its last element
	categories map[string]int64 // by name
	names      []string
}

// cocoResult is one detection as pycocotools' loadRes reads it.
type cocoResult struct {
	ImageID    int64      `json:"image_id"`
	CategoryID int64      `json:"category_id"`
	Box        [4]float32 `json:"bbox"` // x, y, w, h in pixels
	Score      float32    `json:"score"`
}

func readCOCO(path string) (*cocoIDs, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read COCO annotations: %w", err)
	}
	var file struct {
		Images []struct {
			ID   int64  `json:"id"`
			Name string `json:"file_name"`
		} `json:"images"`
		Categories []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"categories"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("read COCO annotations: %s: %w", path, err)
	}
	if len(file.Images) == 0 || len(file.Categories) == 0 {
		return nil, fmt.Errorf("read COCO annotations: %s has %d images and %d categories: is it an annotation file?", path, len(file.Images), len(file.Categories))
	}
	c := &cocoIDs{file: path, images: map[string]int64{}, categories: map[string]int64{}}
	for _, i := range file.Images {
		c.images[filepath.Base(i.Name)] = i.ID
		c.images[i.Name] = i.ID
	}
	for _, k := range file.Categories {
		c.categories[k.Name] = k.ID
		c.names = append(c.names, k.Name)
	}
	return c, nil
}

// labels are the names of a plain model's classes where the annotations are
// COCO's own; "" leaves them to the model.
func (c *cocoIDs) labels() string {
	if len(c.names) == 80 && c.names[0] == "person" && c.names[79] == "toothbrush" {
		return "coco"
	}
	return ""
}

// known are the files that the annotations have an image for.
func (c *cocoIDs) known(files []string) ([]string, error) {
	var out []string
	for _, f := range files {
		if _, ok := c.images[filepath.Base(f)]; ok {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("none of the %d pictures is an image of %s: give --images the folder that the annotations are about", len(files), c.file)
	}
	return out, nil
}

// results gives a picture's detections their ids. Labels that the file has no
// category for are left out: they can't be scored.
func (c *cocoIDs) results(path string, dets []vision.Detection) []cocoResult {
	id := c.images[filepath.Base(path)]
	var out []cocoResult
	for _, d := range dets {
		category, ok := c.categories[d.Label]
		if !ok {
			continue
		}
		out = append(out, cocoResult{id, category, [4]float32{d.Box.X, d.Box.Y, d.Box.W, d.Box.H}, d.Score})
	}
	return out
}
