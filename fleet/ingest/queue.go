package ingest

import (
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// The queue's bounds. A device has at most eight batches in flight, so one
// that obeys never meets its own.
const (
	maxQueued      = 1 << 15  // messages
	maxQueuedBytes = 64 << 20 // of their bodies
	maxOfOne       = 64       // messages of one device
	maxBytesOfOne  = 16 << 20
	turnBytes      = 128 << 10 // that a device's messages may have a turn, decoded: about two full batches
)

// message is one of a device's, by its topic: what the body says of who sent
// it counts for nothing.
type message struct {
	device string
	kind   wire.Kind
	body   []byte
	at     time.Time // it arrived, by the fleet's clock
}

// queue holds messages between the broker's connection and the writer. It
// never blocks: what has no room is dropped and counted, and the device sends
// it again. Devices take turns, each with its messages in order. One whose
// messages are costly waits for as many turns as its last one was worth.
type queue struct {
	ready chan struct{} // has one element while there may be messages

	mu      sync.Mutex // protects what follows
	of      map[string]*line
	turns   []string // devices with messages, the next one first
	n       int
	bytes   int
	dropped uint64
}

// line is what one device has in the queue.
type line struct {
	messages []message // empty only while it owes
	bytes    int
	owes     int // bytes, decoded
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), of: map[string]*line{}}
}

func (q *queue) put(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.of[m.device]
	full := q.n >= maxQueued || q.bytes+len(m.body) > maxQueuedBytes
	if l != nil {
		full = full || len(l.messages) >= maxOfOne || l.bytes+len(m.body) > maxBytesOfOne
	}
	if full {
		q.dropped++
		return
	}
	if l == nil {
		l = new(line)
		q.of[m.device] = l
		q.turns = append(q.turns, m.device)
	}
	l.messages = append(l.messages, m)
	l.bytes += len(m.body)
	q.n++
	q.bytes += len(m.body)
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// next takes a message of the device whose turn it is.
func (q *queue) next() (m message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		clear(q.of) // what is owed harms nobody
		q.turns = nil
		return m, false
	}
	device, l := q.turn()
	m = l.messages[0]
	l.messages[0] = message{} // let its body go
	l.messages = l.messages[1:]
	l.bytes -= len(m.body)
	q.n--
	q.bytes -= len(m.body)
	q.turns = append(q.turns, device)
	return m, true
}

// turn is the next device's that has messages and owes nothing. Each turn pays
// for turnBytes.
func (q *queue) turn() (device string, l *line) {
	for {
		device, q.turns = q.turns[0], q.turns[1:]
		l = q.of[device]
		l.owes = max(0, l.owes-turnBytes)
		switch {
		case l.owes > 0 && len(q.of) > 1:
		case len(l.messages) == 0:
			delete(q.of, device)
			continue
		default:
			return device, l
		}
		q.turns = append(q.turns, device)
	}
}

// charge makes a device that was just served wait for what its message cost.
func (q *queue) charge(device string, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.of[device]; l != nil {
		l.owes += bytes
	}
}

func (q *queue) stats() (dropped uint64, queued int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped, q.n
}
