// Package paint draws what was detected over pictures, for people: boxes, turned
// boxes and outlines with their labels.
package paint

import (
	"fmt"
	"image"
	"image/color"
	"slices"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/sightline-edge/sightline/vision"
)

// Colours that can be told apart on any picture, and by people who see few.
var (
	Paper = color.RGBA{24, 26, 30, 255} // behind texts
	Ink   = color.RGBA{235, 235, 235, 255}
	Green = color.RGBA{70, 200, 120, 255}
	Amber = color.RGBA{255, 150, 60, 255}
)

// palette is what labels take in turn.
var palette = [...]color.RGBA{Amber, {86, 180, 233, 255}, Green, {240, 228, 66, 255}, {204, 121, 167, 255}, {0, 158, 215, 255}, {213, 94, 0, 255}}

// ForClass is a class's colour.
func ForClass(class int) color.RGBA { return palette[max(class, 0)%len(palette)] }

// Canvas is a picture that is drawn on; In is where on it the frame lies, Scale
// how many of its pixels one of the frame's takes.
type Canvas struct {
	Image  *image.RGBA
	In     image.Rectangle
	Scale  float64
	Dashed bool // lines are
}

// Frame makes a canvas of the frame, at most side pixels long.
func Frame(f *vision.Frame, side int) Canvas {
	scale := min(1, float64(side)/float64(max(f.Width, f.Height, 1)))
	w, h := max(int(float64(f.Width)*scale), 1), max(int(float64(f.Height)*scale), 1)
	c := Canvas{Image: image.NewRGBA(image.Rect(0, 0, w, h)), Scale: scale}
	c.In = c.Image.Bounds()
	c.Show(f)
	return c
}

// Show draws the frame where it lies.
func (c Canvas) Show(f *vision.Frame) {
	draw.ApproxBiLinear.Scale(c.Image, c.In, pixels{f}, image.Rect(0, 0, f.Width, f.Height), draw.Src, nil)
}

// Detections draws them, the best on top, each in its class's colour.
func (c Canvas) Detections(dets []vision.Detection) {
	for _, d := range slices.Backward(dets) {
		c.Detection(&d, ForClass(d.Class))
	}
}

// outlinePoints bounds what is drawn around one detection.
const outlinePoints = 2000

// Detection draws its outline, else its box, with its label.
func (c Canvas) Detection(d *vision.Detection, in color.RGBA) {
	x, y, right, bottom := c.at(d.Box.X, 0), c.at(d.Box.Y, 1), c.at(d.Box.X+d.Box.W, 0), c.at(d.Box.Y+d.Box.H, 1)
	if shapes := d.Outlines(outlinePoints); shapes != nil {
		for _, s := range shapes {
			c.Polygon(s, in)
		}
	} else {
		c.polygon([]image.Point{{x, y}, {right, y}, {right, bottom}, {x, bottom}}, in)
	}
	base := y - 4
	if base < c.In.Min.Y+12 {
		base = min(bottom+14, c.In.Max.Y-4)
	}
	c.Text(max(x, c.In.Min.X+1), base, in, fmt.Sprintf("%s %.2f", d.Label, d.Score), c.In.Max.X-x)
}

// at is where a place of the frame, along x (0) or y (1), lies on the canvas.
func (c Canvas) at(v float32, axis int) int {
	const far = 1 << 16
	n := int(min(max(float64(v)*c.Scale, -far), far))
	if axis == 0 {
		return n + c.In.Min.X
	}
	return n + c.In.Min.Y
}

// Polygon draws a closed line through points of the frame.
func (c Canvas) Polygon(points [][2]int, in color.RGBA) {
	at := make([]image.Point, len(points))
	for n, p := range points {
		at[n] = image.Pt(c.at(float32(p[0]), 0), c.at(float32(p[1]), 1))
	}
	c.polygon(at, in)
}

func (c Canvas) polygon(points []image.Point, in color.RGBA) {
	for n, p := range points {
		c.line(p, points[(n+1)%len(points)], in)
	}
}

// dash is the length of a dash, and of the gap behind it, pixels.
const dash = 5

// line draws two pixels thick, inside of the frame (Bresenham).
func (c Canvas) line(a, b image.Point, in color.RGBA) {
	dx, dy := abs(b.X-a.X), -abs(b.Y-a.Y)
	sx, sy, e := sign(b.X-a.X), sign(b.Y-a.Y), dx+dy
	for n := 0; ; n++ {
		for _, p := range [...]image.Point{a, {a.X + 1, a.Y}, {a.X, a.Y + 1}} {
			if p.In(c.In) && !(c.Dashed && n/dash%2 == 1) {
				c.Image.SetRGBA(p.X, p.Y, in)
			}
		}
		if a == b {
			return
		}
		if 2*e >= dy {
			e, a.X = e+dy, a.X+sx
		} else {
			e, a.Y = e+dx, a.Y+sy
		}
	}
}

func abs(v int) int { return max(v, -v) }

func sign(v int) int {
	if v < 0 {
		return -1
	}
	return 1
}

// Text writes a line at its base line, cut to width pixels, on a dark ground.
func (c Canvas) Text(x, y int, in color.RGBA, s string, width int) {
	face := basicfont.Face7x13
	s = plain(s)
	if most := max(width/face.Advance, 1); len(s) > most {
		s = s[:most]
	}
	ground := image.Rect(x-1, y-face.Ascent, x+face.Advance*len(s)+1, y+face.Descent)
	draw.Draw(c.Image, ground, image.NewUniform(Paper), image.Point{}, draw.Src)
	d := font.Drawer{Dst: c.Image, Src: image.NewUniform(in), Face: face, Dot: fixed.P(x, y)}
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

// pixels shows a frame as an image.
type pixels struct{ f *vision.Frame }

func (p pixels) ColorModel() color.Model { return color.RGBAModel }
func (p pixels) Bounds() image.Rectangle { return image.Rect(0, 0, p.f.Width, p.f.Height) }
func (p pixels) At(x, y int) color.Color {
	if p.f.Format == vision.Gray8 {
		v := p.f.Pix[y*p.f.Stride+x]
		return color.RGBA{v, v, v, 255}
	}
	b := p.f.Pix[y*p.f.Stride+3*x:]
	return color.RGBA{b[2], b[1], b[0], 255}
}
