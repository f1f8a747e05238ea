package agent

import "sync"

// lineup lets a station's verdicts out in the order in which its parts were decided,
// while some of them still wait for the large model.
type lineup struct {
	out func(*Inspection)

	mu    sync.Mutex // protects queue, and is held while a verdict goes out: that makes the order
	queue []*queued
}

// queued is a verdict in its place.
type queued struct {
	*Inspection
	settled bool // nothing about it changes any more
}

// join takes the next place for a verdict that is still to be settled.
func (q *lineup) join(i *Inspection) *queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &queued{Inspection: i}
	q.queue = append(q.queue, w)
	return w
}

// settle lets a verdict out, once those before it are.
func (q *lineup) settle(w *queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.settled = true
	for len(q.queue) > 0 && q.queue[0].settled {
		q.out(q.queue[0].Inspection)
		q.queue[0] = nil // no hold on what has gone
		q.queue = q.queue[1:]
	}
}

// pass is for a verdict that waits for nothing but those before it.
func (q *lineup) pass(i *Inspection) { q.settle(q.join(i)) }
