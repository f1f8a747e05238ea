package main

import (
	"math"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// coco is COCO's annotation file. Roles and what follows Crowd are our own
// additions, which readers of COCO pass over.
type coco struct {
	Info        cocoInfo         `json:"info"`
	Images      []cocoImage      `json:"images"`
	Annotations []cocoAnnotation `json:"annotations"`
	Categories  []cocoCategory   `json:"categories"`
}

type cocoInfo struct {
	Description string `json:"description"`
	Seed        uint64 `json:"seed"`
}

type cocoImage struct {
	ID       int    `json:"id"`
	FileName string `json:"file_name"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Frame    int    `json:"frame"`
}

type cocoCategory struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"` // part or defect
}

type cocoAnnotation struct {
	ID         int        `json:"id"`
	ImageID    int        `json:"image_id"`
	CategoryID int        `json:"category_id"`
	Box        [4]float64 `json:"bbox"` // x, y, width, height of what is in view, pixels
	Area       float64    `json:"area"`
	Crowd      int        `json:"iscrowd"`
	PartID     string     `json:"part_id"`
	Visible    float64    `json:"visible"`            // share of the whole box that is in view
	BelowFloor bool       `json:"below_floor"`        // of a defect
	Contrast   float64    `json:"contrast,omitempty"` // of a defect, grey levels
}

// sceneTruth is truth.json.
type sceneTruth struct {
	Seed           uint64          `json:"seed"`
	Width          int             `json:"width"`
	Height         int             `json:"height"`
	Rate           float64         `json:"rate"`
	FloorContrast  float64         `json:"floor_contrast"`   // grey levels
	FloorSpot      float64         `json:"floor_spot"`       // part diameters
	FloorLine      float64         `json:"floor_line"`       // part diameters
	FloorLineWidth float64         `json:"floor_line_width"` // part diameters
	Parts          []scenePartNote `json:"parts"`
}

type scenePartNote struct {
	ID      string         `json:"id"`
	Entered float64        `json:"entered"` // seconds
	Left    float64        `json:"left"`    // seconds
	Bad     bool           `json:"bad"`
	Defects []scene.Defect `json:"defects"`
}

// sceneNotes collects what the pictures show.
type sceneNotes struct {
	scene       *scene.Scene
	coco        coco
	categories  map[string]int
	first, last int // indices of the parts seen: first ≤ i < last
}

func newSceneNotes(s *scene.Scene) *sceneNotes {
	n := &sceneNotes{scene: s, first: math.MaxInt, categories: map[string]int{}}
	n.coco.Info = cocoInfo{Description: "parts drawn by sightline scene", Seed: s.Config().Seed}
	n.coco.Annotations = []cocoAnnotation{}
	n.category("part", vision.PartRole)
	for _, k := range scene.Kinds() {
		n.category(string(k), vision.DefectRole)
	}
	return n
}

func (n *sceneNotes) category(name string, role vision.Role) {
	id := len(n.coco.Categories) + 1
	n.categories[name] = id
	n.coco.Categories = append(n.coco.Categories, cocoCategory{ID: id, Name: name, Role: role.String()})
}

// add notes what frame number shows.
func (n *sceneNotes) add(file string, number int) {
	cfg := n.scene.Config()
	id := len(n.coco.Images) + 1
	n.coco.Images = append(n.coco.Images, cocoImage{
		ID: id, FileName: file, Width: cfg.Width, Height: cfg.Height, Frame: number,
	})
	for _, p := range n.scene.Truth(number) {
		n.first, n.last = min(n.first, p.Part.Index), max(n.last, p.Part.Index+1)
		n.box(id, "part", p.Part.ID, p.Box, p.Clipped)
		for _, d := range p.Defects {
			if a := n.box(id, string(d.Kind), p.Part.ID, d.Box, d.Clipped); a != nil {
				a.BelowFloor, a.Contrast = d.BelowFloor, round(d.Contrast)
			}
		}
	}
}

// box notes one box, unless none of it is in view.
func (n *sceneNotes) box(image int, name, part string, whole, seen vision.Box) *cocoAnnotation {
	if seen.Area() == 0 {
		return nil
	}
	n.coco.Annotations = append(n.coco.Annotations, cocoAnnotation{
		ID: len(n.coco.Annotations) + 1, ImageID: image, CategoryID: n.categories[name],
		Box:  [4]float64{round(float64(seen.X)), round(float64(seen.Y)), round(float64(seen.W)), round(float64(seen.H))},
		Area: round(float64(seen.Area())), PartID: part,
		Visible: round(float64(seen.Area() / whole.Area())),
	})
	return &n.coco.Annotations[len(n.coco.Annotations)-1]
}

// round keeps three decimals, which is finer than the drawing's own grid.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func (n *sceneNotes) truth() *sceneTruth {
	cfg := n.scene.Config()
	t := &sceneTruth{
		Seed: cfg.Seed, Width: cfg.Width, Height: cfg.Height, Rate: cfg.Rate,
		FloorContrast: scene.FloorContrast, FloorSpot: scene.FloorSpot,
		FloorLine: scene.FloorLine, FloorLineWidth: scene.FloorLineWidth,
		Parts: []scenePartNote{},
	}
	for i := n.first; i < n.last; i++ {
		p := n.scene.Part(i)
		t.Parts = append(t.Parts, scenePartNote{
			ID: p.ID, Entered: p.Entered.Seconds(), Left: p.Left.Seconds(), Bad: p.Bad(),
			Defects: append([]scene.Defect{}, p.Defects...),
		})
	}
	return t
}
