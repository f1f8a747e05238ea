package gate

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"path"
	"slices"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
)

// Sizes of the drawing, pixels.
const (
	drawnSide = 640 // longest side of each of the two pictures
	lineRoom  = 18  // of a line of text
	gap       = 8
)

var (
	paper    = color.RGBA{24, 26, 30, 255}
	ink      = color.RGBA{235, 235, 235, 255}
	expectIn = color.RGBA{70, 200, 120, 255}
	foundIn  = color.RGBA{255, 150, 60, 255}
)

// drawingName is the file name of a picture's drawing.
func drawingName(picture string) string {
	base := path.Base(picture)
	return strings.TrimSuffix(base, path.Ext(base)) + ".jpg"
}

// sideBySide draws the expected on the left and the found on the right, with
// what differs above.
func sideBySide(v *bundle.Vector, found *seen, why Refusal) ([]byte, error) {
	f := &found.frame
	scale := min(1, float64(drawnSide)/float64(max(f.Width, f.Height)))
	w, h := max(int(float64(f.Width)*scale), 1), max(int(float64(f.Height)*scale), 1)
	room := max(w, 320)
	canvas := image.NewRGBA(image.Rect(0, 0, 2*room+3*gap, h+4*lineRoom+gap))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	whole := bgr{f}
	worst := found.worst()
	var want, got []vision.Detection
	for _, e := range v.Detections {
		want = append(want, vision.Detection{Label: e.Label, Score: e.Score, Box: boxOf(e.Box)})
	}
	got = found.detections
	p := painter{canvas, scale}
	p.text(gap, lineRoom, ink, "expected: "+why.What+": "+why.Expected, 2*room)
	p.text(gap, 2*lineRoom, ink, "found: "+why.Found, 2*room)
	for n, half := range []struct {
		head string
		dets []vision.Detection
		in   color.RGBA
	}{{"EXPECTED " + verdictText(v.Verdict, v.Reason), want, expectIn}, {"FOUND " + verdictText(worst.Verdict.String(), worst.Reason), got, foundIn}} {
		x, y := gap+n*(room+gap), 4*lineRoom
		p.text(x, 3*lineRoom+4, half.in, half.head, room)
		draw.ApproxBiLinear.Scale(canvas, image.Rect(x, y, x+w, y+h), whole, whole.Bounds(), draw.Src, nil)
		for _, d := range slices.Backward(half.dets) { // the best lie on top
			p.detection(image.Rect(x, y, x+w, y+h), d, half.in)
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}

// painter draws on a canvas that shows a picture at a scale.
type painter struct {
	canvas *image.RGBA
	scale  float64
}

// detection draws a box with its label inside a picture that lies at in.
func (p painter) detection(in image.Rectangle, d vision.Detection, c color.RGBA) {
	at := func(v float32) int { return int(float64(v) * p.scale) }
	r := image.Rect(at(d.Box.X), at(d.Box.Y), at(d.Box.X+d.Box.W), at(d.Box.Y+d.Box.H)).Add(in.Min).Intersect(in)
	const thick = 2
	for _, side := range []image.Rectangle{
		{r.Min, image.Pt(r.Max.X, r.Min.Y+thick)}, {image.Pt(r.Min.X, r.Max.Y-thick), r.Max},
		{r.Min, image.Pt(r.Min.X+thick, r.Max.Y)}, {image.Pt(r.Max.X-thick, r.Min.Y), r.Max},
	} {
		draw.Draw(p.canvas, side.Intersect(in), image.NewUniform(c), image.Point{}, draw.Src)
	}
	y := r.Min.Y - 3
	if y < in.Min.Y+12 {
		y = r.Min.Y + 14
	}
	p.text(r.Min.X, y, c, fmt.Sprintf("%s %.2f", d.Label, d.Score), in.Max.X-r.Min.X)
}

// text writes a line at its base line, cut to width, on a dark ground.
func (p painter) text(x, y int, c color.RGBA, s string, width int) {
	face := basicfont.Face7x13
	s = plain(s)
	if most := max(width/face.Advance, 1); len(s) > most {
		s = s[:most]
	}
	ground := image.Rect(x-1, y-face.Ascent, x+face.Advance*len(s)+1, y+face.Descent)
	draw.Draw(p.canvas, ground, image.NewUniform(paper), image.Point{}, draw.Src)
	d := font.Drawer{Dst: p.canvas, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(s)
}

// plain replaces what the small font hasn't.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '×':
			return 'x'
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// bgr shows a frame as an image.
type bgr struct{ f *vision.Frame }

func (b bgr) ColorModel() color.Model { return color.RGBAModel }
func (b bgr) Bounds() image.Rectangle { return image.Rect(0, 0, b.f.Width, b.f.Height) }
func (b bgr) At(x, y int) color.Color {
	p := b.f.Pix[y*b.f.Stride+3*x:]
	return color.RGBA{p[2], p[1], p[0], 255}
}
