package infer

import "math"

// placing tells where a frame lies when it is resized, and what of it is seen.
type placing struct {
	across, down span
	at           rect // of the part that is seen, in the tensor
	place        Placement
}

// span is one direction of a resized picture: from src pixels to dst, of which
// n are wanted from position from on.
type span struct{ src, dst, from, n int }

// scales are the pixels of the frame for one of the resized picture, and the
// reverse, with the roundings of OpenCV.
func (s span) scales() (scale, inverse float64) {
	inverse = float64(s.dst) / float64(s.src)
	return 1 / inverse, inverse
}

// lay puts a frame of w×h to the tensor.
func (in Input) lay(w, h int) placing {
	switch in.Resize {
	case Letterbox:
		return in.letterbox(w, h)
	case Crop:
		return in.crop(w, h)
	}
	return placing{span{w, in.Width, 0, in.Width}, span{h, in.Height, 0, in.Height}, rect{0, 0, in.Width, in.Height}, Placement{
		GainX: float64(in.Width) / float64(w), GainY: float64(in.Height) / float64(h)}}
}

// place is where a frame of w×h lies in the tensor.
func (in Input) place(w, h int) (rect, Placement) {
	l := in.lay(w, h)
	return l.at, l.place
}

// letterbox follows the arithmetic of the tools whose results we reproduce
// (YOLOX's preproc, Ultralytics' LetterBox).
func (in Input) letterbox(w, h int) placing {
	r := min(float64(in.Height)/float64(h), float64(in.Width)/float64(w))
	at := rect{w: max(int(float64(w)*r), 1), h: max(int(float64(h)*r), 1)}
	if in.Anchor == Centre {
		at.w, at.h = max(int(math.RoundToEven(float64(w)*r)), 1), max(int(math.RoundToEven(float64(h)*r)), 1)
		at.x = max(int(math.RoundToEven(float64(in.Width-at.w)/2-0.1)), 0)
		at.y = max(int(math.RoundToEven(float64(in.Height-at.h)/2-0.1)), 0)
	}
	return placing{span{w, at.w, 0, at.w}, span{h, at.h, 0, at.h}, at,
		Placement{GainX: r, GainY: r, PadX: float64(at.x), PadY: float64(at.y)}}
}

// crop resizes the frame until it covers the tensor's size ÷ CropShare, and
// shows the middle. For a square one, this is torchvision's Resize of the shorter
// side, which rounds the longer one down, and CenterCrop, as its presets, timm and
// Ultralytics' classify use them; for others, it is timm's way, which rounds both
// sides. As a picture that covers is never smaller than the tensor, nothing is
// padded. The sides' gains differ by what was rounded.
func (in Input) crop(w, h int) placing {
	pw, ph := in.cropSize()
	switch {
	case pw != ph:
		ratio := min(float64(h)/float64(ph), float64(w)/float64(pw))
		pw, ph = int(math.RoundToEven(float64(w)/ratio)), int(math.RoundToEven(float64(h)/ratio))
	case w <= h:
		ph = int(float64(pw*h) / float64(w))
	default:
		pw = int(float64(ph*w) / float64(h))
	}
	x := int(math.RoundToEven(float64(pw-in.Width) / 2))
	y := int(math.RoundToEven(float64(ph-in.Height) / 2))
	return placing{span{w, pw, x, in.Width}, span{h, ph, y, in.Height}, rect{0, 0, in.Width, in.Height}, Placement{
		GainX: float64(pw) / float64(w), GainY: float64(ph) / float64(h), PadX: -float64(x), PadY: -float64(y)}}
}

// cropSize is what a resized frame must cover before it is cropped.
func (in Input) cropSize() (w, h int) {
	share := in.CropShare
	if share == 0 {
		share = 1
	}
	return int(float64(in.Width) / share), int(float64(in.Height) / share)
}
