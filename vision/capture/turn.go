package capture

import (
	"fmt"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/optics"
)

// turn puts what the options say of mirror, rotation, ROI and lens between a
// reader and its worker. Without any it gives the reader itself. It takes over
// the reader, also on error. What a source announces of its size is that of the
// result from here on.
func turn(r reader, desc *opened, opts Options) (reader, error) {
	if opts.Rotate == 0 && opts.Mirror == "" && opts.ROI == [4]int{} && opts.Calibration == "" {
		return r, nil
	}
	o, err := newOptics(opts)
	if err == nil && desc.Width > 0 && desc.Height > 0 {
		desc.Width, desc.Height, err = o.Size(desc.Width, desc.Height)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	t := &turned{reader: r, optics: o}
	switch r := r.(type) { // what the worker looks for shows through
	case interface {
		firer
		exposer
	}:
		return struct {
			*turned
			firer
			exposer
		}{t, r, r}, nil
	case exposer:
		return struct {
			*turned
			exposer
		}{t, r}, nil
	case firer:
		return struct {
			*turned
			firer
		}{t, r}, nil
	case finisher:
		return struct {
			*turned
			finisher
		}{t, r}, nil
	}
	return t, nil
}

func newOptics(opts Options) (*optics.Optics, error) {
	cfg := optics.Config{Rotate: opts.Rotate, Mirror: opts.Mirror, ROI: opts.ROI}
	if opts.Calibration != "" {
		var err error
		if cfg.Calibration, err = optics.ReadCalibration(opts.Calibration); err != nil {
			return nil, err
		}
	}
	return optics.New(cfg)
}

// turned is a reader whose pictures are decoded beside the slots and turned into
// them.
type turned struct {
	reader reader
	optics *optics.Optics
	worker roomFunc // of the worker, always the same one

	// A watched folder asks for room beside Read, but not beside the end of one
	// that gives a picture.
	scratch []byte // what the reader decodes into
	asked   int    // bytes that the reader has asked for last
	like    like   // the picture before
}

// like is what a picture and its result need.
type like struct {
	width, height int
	gray          bool
	in, out       int // bytes that the reader asks for, and of the result
}

// room gives the reader memory of its own. Where the picture is expected to be
// like the one before it, a slot is asked for first, so that without one nothing
// is decoded.
func (t *turned) room(bytes int) ([]byte, error) {
	if t.asked = bytes; bytes == t.like.in {
		if slot, err := t.worker(t.like.out); err != nil || slot == nil {
			return nil, err
		}
	}
	if len(t.scratch) < bytes {
		t.scratch = make([]byte, bytes)
	}
	return t.scratch, nil
}

// Read turns the reader's next picture into its slot.
func (t *turned) Read(room roomFunc) (shot, error) {
	if t.worker == nil {
		t.worker = room
	}
	s, err := t.reader.Read(t.room)
	if err != nil || s.empty {
		return s, err
	}
	format := s.format()
	if l := &t.like; s.Width != l.width || s.Height != l.height || s.Gray != l.gray {
		w, h, err := t.optics.Size(s.Width, s.Height)
		if err != nil {
			return s, misfit(s, err)
		}
		*l = like{width: s.Width, height: s.Height, gray: s.Gray, out: w * h * format.Channels()}
	}
	t.like.in = t.asked
	slot, err := room(t.like.out)
	if err != nil || slot == nil {
		s.empty = true
		return s, err
	}
	src := vision.Frame{Pix: t.scratch, Width: s.Width, Height: s.Height, Stride: s.Width * format.Channels(), Format: format}
	dst := vision.Frame{Pix: slot}
	if err := t.optics.Apply(&dst, &src); err != nil {
		return s, err
	}
	s.Width, s.Height = dst.Width, dst.Height
	return s, nil
}

// misfit ends a stream, whose pictures will go on like this one. A file among
// others is left out by itself.
func misfit(s shot, err error) error {
	if s.Name != "" {
		return errUnreadable{fmt.Errorf("picture %s: %w", s.Name, err)}
	}
	return err
}

// Close ends the reader.
func (t *turned) Close() { t.reader.Close() }
