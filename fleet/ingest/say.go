package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Bounds of what waits for the broker beside answers.
const (
	maxSaid      = 1 << 14 // messages
	maxSaidBytes = 2 << 20 // of blocks: more would only be older when they come
	sayPatience  = time.Second
)

// Send publishes a message to a device with QoS 0. False: there is no
// connection, or no room; who wants it asks again. Where too many blocks wait,
// it holds up whoever sends another for a second at most; everything else goes
// before them, and at once or not at all.
func (in *Ingest) Send(device string, kind wire.Kind, body []byte) bool {
	client := in.client.Load()
	if client == nil || !(*client).IsConnectionOpen() {
		return false
	}
	return in.said.put(said{wire.Topic(device, wire.Down, kind), body}, kind == wire.KindBlock)
}

type said struct {
	topic string
	body  []byte
}

// speech is what waits to be said: words first, then blocks.
type speech struct {
	ready chan struct{} // has one element while there may be messages

	mu     sync.Mutex // protects what follows
	words  []said
	blocks []said
	bytes  int           // of blocks
	room   chan struct{} // closed, and another, when blocks are taken out
}

func newSpeech() *speech {
	return &speech{ready: make(chan struct{}, 1), room: make(chan struct{})}
}

func (s *speech) put(m said, block bool) bool {
	var end <-chan time.Time
	for {
		ok, room := s.try(m, block)
		if ok || room == nil {
			return ok
		}
		if end == nil {
			timer := time.NewTimer(sayPatience)
			defer timer.Stop()
			end = timer.C
		}
		select {
		case <-room:
		case <-end:
			return false
		}
	}
}

// try puts a message in, or says when there may be room; nil is never.
func (s *speech) try(m said, block bool) (ok bool, room <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !block && len(s.words) >= maxSaid:
		return false, nil
	case !block:
		s.words = append(s.words, m)
	case s.bytes > 0 && s.bytes+len(m.body) > maxSaidBytes || len(s.blocks) >= maxSaid:
		return false, s.room
	default:
		s.blocks = append(s.blocks, m)
		s.bytes += len(m.body)
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return true, nil
}

func (s *speech) next() (m said, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.words) > 0:
		m, s.words = s.words[0], s.words[1:]
	case len(s.blocks) > 0:
		m = s.blocks[0]
		s.blocks[0] = said{} // let its body go
		s.blocks = s.blocks[1:]
		s.bytes -= len(m.body)
		s.roomLocked()
	default:
		return m, false
	}
	return m, true
}

func (s *speech) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words, s.blocks, s.bytes = nil, nil, 0
	s.roomLocked()
}

func (s *speech) roomLocked() {
	close(s.room)
	s.room = make(chan struct{})
}

// say publishes what Send has put up, beside the answers: those meet one block
// on the way at most.
func (in *Ingest) say(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-in.said.ready:
		}
		for ctx.Err() == nil {
			m, ok := in.said.next()
			if !ok {
				break
			}
			client := in.client.Load()
			if client == nil || !(*client).IsConnectionOpen() {
				in.said.clear()
				break
			}
			token := (*client).Publish(m.topic, 0, false, m.body)
			if !token.WaitTimeout(writeTimeout) || token.Error() != nil {
				in.said.clear()
			}
		}
	}
}
