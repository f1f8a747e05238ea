package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// Limits of a golden picture: a device decodes it beside its running stations.
const (
	maxPicture = 32 << 20 // bytes of the file
	maxPixels  = 64 << 20
)

// defaultSamples is how many values of each output Record keeps.
const defaultSamples = 256

// decisions is how often a rule may try: its time limit is short, and a device
// that stages a bundle is busy.
const decisions = 3

// seen is what a subject said about one picture.
type seen struct {
	frame      vision.Frame // in the looker's pool, until its next look
	detections []vision.Detection
	parts      []judged
	raw        []infer.RawSample
	broken     int // values and scores that are no numbers
}

// judged is a part with its verdict.
type judged struct {
	part     vision.Part
	decision vision.Decision
}

// looker takes pictures to verdicts as a station does. One look at a time.
type looker struct {
	subject Subject
	dir     fs.FS
	pool    *shm.Pool
	seq     uint64
}

func newLooker(s Subject, dir fs.FS) *looker {
	s.Track.Mode = track.Pictures
	for _, role := range s.Track.Roles {
		if role == vision.PartRole {
			s.Track.Mode = track.Stills
		}
	}
	return &looker{subject: s, dir: dir}
}

// close forgets the memory of the pictures.
func (l *looker) close() {
	if l.pool != nil {
		l.subject.Worker.Forget(l.pool)
		l.pool.Release()
		l.pool = nil
	}
}

// deviceError is a failure of this device, which no bundle is to blame for.
type deviceError struct{ error }

func (d deviceError) Unwrap() error { return d.error }

// look runs model, tracker and rule on one picture. A picture that is no good
// is a Refusal, a failure of the device a deviceError; other errors are the
// worker's.
func (l *looker) look(ctx context.Context, name string, samples int) (*seen, error) {
	frame, err := l.load(name)
	if err != nil {
		return nil, err
	}
	result, raw, err := l.subject.Worker.InferRaw(ctx, &frame, l.pool, 0, samples)
	if err != nil {
		return nil, err
	}
	result.Detections = slices.DeleteFunc(result.Detections, func(d vision.Detection) bool { return d.Score < l.subject.Lowest })
	s := &seen{frame: frame, detections: result.Detections, raw: raw, broken: result.Dropped}
	for _, r := range raw {
		s.broken += r.Broken
	}
	for _, p := range l.parts(frame, result.Detections) {
		j := judged{p, vision.Decision{Reason: vision.ReasonNoRule}}
		for range decisions {
			if l.subject.Rule == nil {
				break
			}
			j.decision = l.subject.Rule.Decide(ctx, p, frame.Width, frame.Height)
			if j.decision.Reason != vision.ReasonRuleFailed {
				break
			}
		}
		s.parts = append(s.parts, j)
	}
	return s, nil
}

// load decodes a picture into shared memory.
func (l *looker) load(name string) (vision.Frame, error) {
	bad := func(err error) Refusal {
		return Refusal{Picture: name, What: WhatGolden, Expected: "a picture", Found: err.Error()}
	}
	st, err := fs.Stat(l.dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid):
		return vision.Frame{}, bad(errors.New("there is no such file in the bundle"))
	case err != nil:
		return vision.Frame{}, deviceError{fmt.Errorf("read golden picture %s: %w", name, err)}
	case st.Size() > maxPicture:
		return vision.Frame{}, bad(fmt.Errorf("it has %d bytes, at most %d are read", st.Size(), maxPicture))
	}
	data, err := fs.ReadFile(l.dir, name)
	if err != nil {
		return vision.Frame{}, deviceError{fmt.Errorf("read golden picture %s: %w", name, err)}
	}
	frame, err := picture.Decode(data, l.room)
	var device deviceError
	if errors.As(err, &device) {
		return vision.Frame{}, device
	} else if err != nil {
		return vision.Frame{}, bad(err)
	}
	l.seq++
	frame.Seq, frame.Name = l.seq, name
	return frame, nil
}

// room gives memory for a picture, in a larger pool where the last is too small.
func (l *looker) room(w, h int) ([]byte, error) {
	if w*h > maxPixels {
		return nil, fmt.Errorf("it has %d×%d pixels, at most %d million are read", w, h, maxPixels>>20)
	}
	size := 3 * w * h
	if l.pool != nil && l.pool.SlotSize < size {
		l.close()
	}
	if l.pool == nil {
		pool, err := shm.NewPool(l.seq+1, 1, size)
		if err != nil {
			return nil, deviceError{fmt.Errorf("make room for a golden picture: %w", err)}
		}
		l.pool = pool
	}
	return l.pool.Slot(0)[:size], nil
}

// parts are what a station would make of a single picture: the parts that it
// shows, or the whole picture where no label is a part.
func (l *looker) parts(f vision.Frame, dets []vision.Detection) []vision.Part {
	t := track.New(l.subject.Track)
	parts := t.Update(track.Frame{Seq: f.Seq, Name: f.Name, Width: f.Width, Height: f.Height}, dets)
	return append(parts, t.Flush()...)
}

// worst is the verdict for the picture: one bad part makes it bad, and what
// shows no part was not inspected.
func (s *seen) worst() vision.Decision {
	if len(s.parts) == 0 {
		return vision.Decision{Reason: "no part"}
	}
	rank := map[vision.Verdict]int{vision.Fail: 2, vision.None: 1, vision.Pass: 0}
	worst := s.parts[0].decision
	for _, j := range s.parts[1:] {
		if rank[j.decision.Verdict] > rank[worst.Verdict] {
			worst = j.decision
		}
	}
	return worst
}

// samplesOf is how many values must be asked for so that they lie where those
// of the vector do.
func samplesOf(v *bundle.Vector) int {
	n := 1
	for _, o := range v.Outputs {
		n = max(n, len(o.Values))
	}
	return min(n, infer.MaxSamples)
}
