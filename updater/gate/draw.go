package gate

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"path"
	"slices"
	"strings"

	"golang.org/x/image/draw"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/paint"
)

// Sizes of the drawing, pixels.
const (
	drawnSide = 640 // longest side of each of the two pictures
	lineRoom  = 18  // of a line of text
	gap       = 8
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
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(paint.Paper), image.Point{}, draw.Src)
	worst := found.worst()
	var want, got []vision.Detection
	for _, e := range v.Detections {
		want = append(want, vision.Detection{Label: e.Label, Score: e.Score, Box: boxOf(e.Box)})
	}
	got = found.detections
	c := paint.Canvas{Image: canvas, Scale: scale}
	c.Text(gap, lineRoom, paint.Ink, "expected: "+why.What+": "+why.Expected, 2*room)
	c.Text(gap, 2*lineRoom, paint.Ink, "found: "+why.Found, 2*room)
	for n, half := range []struct {
		head string
		dets []vision.Detection
		in   color.RGBA
	}{{"EXPECTED " + verdictText(v.Verdict, v.Reason), want, paint.Green}, {"FOUND " + verdictText(worst.Verdict.String(), worst.Reason), got, paint.Amber}} {
		x, y := gap+n*(room+gap), 4*lineRoom
		c.Text(x, 3*lineRoom+4, half.in, half.head, room)
		c.In = image.Rect(x, y, x+w, y+h)
		c.Show(f)
		for _, d := range slices.Backward(half.dets) { // the best lie on top
			c.Detection(&d, half.in)
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}
