package agent

import (
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
)

// pictureSide is the longest side of a part's picture, pixels.
const pictureSide = 480

// render encodes the best view of the part. A part without one has no
// picture; that never touches its verdict.
func (i *Inspection) render() {
	if i.crop == nil {
		return
	}
	f := &i.crop.frame
	b, err := picture.EncodeJPEG(f, picture.Encoding{MaxSide: pictureSide})
	if err != nil {
		i.station.log.Warn("part without a picture", "part", i.Part.ID, "err", err)
		return
	}
	scale := min(1, float32(pictureSide)/float32(max(f.Width, f.Height)))
	box := i.crop.box
	i.Picture, i.Width, i.Height = b, int(float32(f.Width)*scale), int(float32(f.Height)*scale)
	i.InView = vision.Box{X: box.X * scale, Y: box.Y * scale, W: box.W * scale, H: box.H * scale}
	if p := &i.Part; p.First == p.Last || i.ask != nil || i.large && i.crop.frame.Seq == p.Best { // then the evidence is of the same picture
		i.Shows = i.crop.at
		if i.crop.view < len(p.Views) {
			i.ShowsCamera = p.Views[i.crop.view].Camera
		}
	}
	i.crop = nil
}
