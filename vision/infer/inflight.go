package infer

import (
	"fmt"
	"slices"
	"time"
)

// Frames in flight in a worker: one being filled, one running, one decoding. Two at a
// time have an input, and two have outputs.
const (
	inFlight = 3
	inHands  = 2
)

// intake is memory that a frame is written to, and the tensors over it.
type intake struct {
	blob   *Blob
	feed   feed // of the picture
	inputs inputs
}

// makeRoom makes the tensors of the frames in flight.
func (s *server) makeRoom() error {
	s.intakes, s.slots = make(chan *intake, inHands), make(chan *slot, inHands)
	for range inHands {
		in := &intake{blob: s.filler.NewBlob()}
		feeds, err := s.info.feeds(s.load.Spec.Input, in.blob.Data)
		if err != nil {
			return err
		}
		in.feed = feeds[s.info.picture()]
		if in.inputs, err = s.sess.newInputs(feeds); err != nil {
			return err
		}
		sl, err := s.sess.newSlot()
		if err != nil {
			return err
		}
		s.intakes <- in
		s.slots <- sl
	}
	for range inFlight {
		s.free <- &job{}
	}
	return nil
}

// firstLimit is how long the first run may take: what an accelerator compiles then takes
// minutes, the processor's takes hardly longer than those that follow.
func firstLimit(p Provider, limit time.Duration) time.Duration {
	if p == CPU {
		return max(6*limit, 10*time.Second)
	}
	return loadLimit
}

// warmUp runs the model on an empty tensor and fixes the outputs to the shapes
// that come out.
func (s *server) warmUp() error {
	in, first := <-s.intakes, <-s.slots
	outs, err := s.sess.run(in.inputs, first, firstLimit(Provider(s.info.Provider), s.load.Limit))
	s.intakes <- in
	s.slots <- first
	if err != nil {
		return err
	}
	shapes := slices.Clone(outs)
	if _, err := NewDecoder(s.load.Spec).check(s.one(outs)); err != nil {
		return fmt.Errorf("decode the output: %w", err)
	}
	for range inHands {
		sl := <-s.slots
		if err := s.sess.fixOutputs(sl, shapes); err != nil {
			return err
		}
		s.slots <- sl
	}
	return nil
}
