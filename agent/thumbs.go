package agent

import (
	"sync"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/vision"
)

// keepThumbs is how many parts' pictures are kept in memory for the page, at
// some 10 kB each. Pictures for good are files, kept by other means.
const keepThumbs = 64

// thumbs keeps the pictures of the newest parts. Safe for concurrent use.
type thumbs struct {
	mu    sync.Mutex // protects all below
	order []string
	kept  map[string]api.PartPicture
}

func (t *thumbs) put(id string, p api.PartPicture) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		t.kept = map[string]api.PartPicture{}
	}
	if _, ok := t.kept[id]; !ok {
		t.order = append(t.order, id)
	}
	t.kept[id] = p
	if len(t.order) > keepThumbs {
		delete(t.kept, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *thumbs) get(id string) (api.PartPicture, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.kept[id]
	return p, ok
}

// crop is a copy of the part of a frame that shows one physical part.
type crop struct {
	frame vision.Frame // owns its pixels
	at    vision.Box   // where it lies in the frame that it was cut from
	box   vision.Box   // of the part, in the crop
	view  int          // of several cameras, whose frame it is of
}

// margin around a part's box, of its size.
const margin = 0.12

// around is the box with a margin, as far as it lies in the frame; without anything of it
// there, all of the frame: x, y, width, height.
func around(f *vision.Frame, box vision.Box) [4]int {
	grow := margin * max(box.W, box.H)
	area := vision.Box{X: box.X - grow, Y: box.Y - grow, W: box.W + 2*grow, H: box.H + 2*grow}
	area = area.Intersect(vision.Box{W: float32(f.Width), H: float32(f.Height)})
	out := [4]int{int(area.X), int(area.Y), int(area.W), int(area.H)}
	if out[2] == 0 || out[3] == 0 {
		return [4]int{0, 0, f.Width, f.Height}
	}
	return out
}

// cut copies the part's box with a margin out of the frame, reusing c's memory.
func (c *crop) cut(f *vision.Frame, box vision.Box) {
	area := around(f, box)
	x, y, w, h := area[0], area[1], area[2], area[3]
	ch := f.Format.Channels()
	pix := c.frame.Pix
	if cap(pix) < w*h*ch {
		pix = make([]byte, w*h*ch)
	}
	pix = pix[:w*h*ch]
	for row := range h {
		from := (y+row)*f.Stride + x*ch
		copy(pix[row*w*ch:(row+1)*w*ch], f.Pix[from:])
	}
	c.frame = vision.Frame{Pix: pix, Width: w, Height: h, Stride: w * ch, Format: f.Format, Seq: f.Seq, Captured: f.Captured, Name: f.Name}
	c.at = vision.Box{X: float32(x), Y: float32(y), W: float32(w), H: float32(h)}
	c.box = vision.Box{X: box.X - float32(x), Y: box.Y - float32(y), W: box.W, H: box.H}
}
