package uplink

import (
	"slices"
	"time"
)

// Limits of what is on its way to the fleet.
const (
	maxFlight      = 8         // batches that are sent and not acknowledged
	maxFlightBytes = 512 << 10 // and bytes of them as they are sent

	leastPatience = 1500 * time.Millisecond // without progress before going back
	mostPatience  = 30 * time.Second
)

// batch is a piece of the journal, encoded and not yet acknowledged.
type batch struct {
	first, last uint64
	items       uint64 // records and holes
	payload     []byte
	sent        time.Time // zero if never
	again       bool      // sent more than once
}

// window is the sender's half of go-back-N, without I/O and with the time as
// an argument. The batches in flight follow each other; the first of them
// follows the fleet's watermark, or holds it.
type window struct {
	watermark uint64 // what the fleet has
	highest   uint64 // what was ever sent in this epoch
	flight    []*batch
	next      int // the one in flight that is to be sent next
	bytes     int // of flight

	moved   time.Time     // when there was progress last, or waiting for it began
	rtt     time.Duration // smoothed, from sending a batch to its acknowledgement; 0 if not known
	backoff uint          // how often patience was doubled since the last progress
}

// begin is for a new epoch: nothing was ever sent.
func (w *window) begin() { *w = window{rtt: w.rtt} }

// locate takes the fleet's word of where it is, and makes the batch after that
// the next one to send. What is in flight is kept where it still follows.
func (w *window) locate(watermark uint64, now time.Time) {
	w.highest = max(w.highest, watermark)
	if watermark < w.watermark || watermark > w.end() {
		backoff := w.backoff
		if watermark > w.watermark {
			backoff = 0
		}
		*w = window{watermark: watermark, highest: w.highest, rtt: w.rtt, backoff: backoff}
	}
	w.next = 0 // before ack: what was sent before says nothing about time
	for _, b := range w.flight {
		b.again = b.again || !b.sent.IsZero()
	}
	w.ack(watermark, now)
}

// end is the number after which reading the journal goes on.
func (w *window) end() uint64 {
	if n := len(w.flight); n > 0 {
		return w.flight[n-1].last
	}
	return w.watermark
}

// room reports whether another batch may be added. Its size isn't known yet,
// so one batch may pass the limit of bytes.
func (w *window) room() bool { return len(w.flight) < maxFlight && w.bytes < maxFlightBytes }

// add puts a batch that begins at end()+1 into flight.
func (w *window) add(b *batch) {
	w.flight = append(w.flight, b)
	w.bytes += len(b.payload)
}

// due is the batch to send now; nil if there is none.
func (w *window) due() *batch {
	if w.next == len(w.flight) {
		return nil
	}
	return w.flight[w.next]
}

// sent tells that the due batch is on its way.
func (w *window) sent(now time.Time) {
	b := w.flight[w.next]
	if w.next == 0 { // nothing was waited for until now
		w.moved = now
	}
	w.next++
	b.again = !b.sent.IsZero()
	b.sent = now
	w.highest = max(w.highest, b.last)
}

// answer is what an acknowledgement was good for.
type answer int

const (
	stale    answer = iota // says nothing new
	progress               // moves the watermark
	beyond                 // claims what was never sent
)

// ack takes a watermark of this epoch from the fleet.
func (w *window) ack(watermark uint64, now time.Time) answer {
	if watermark > w.highest {
		return beyond
	}
	if watermark <= w.watermark {
		return stale
	}
	w.watermark, w.moved, w.backoff = watermark, now, 0
	done := 0
	for done < len(w.flight) && w.flight[done].last <= watermark {
		b := w.flight[done]
		w.bytes -= len(b.payload)
		if !b.again && !b.sent.IsZero() { // else nobody knows which sending this answers
			w.measure(now.Sub(b.sent))
		}
		done++
	}
	w.flight = slices.Delete(w.flight, 0, done)
	w.next = max(w.next-done, 0)
	return progress
}

// measure smooths as TCP does: an eighth of the new.
func (w *window) measure(rtt time.Duration) {
	if w.rtt == 0 {
		w.rtt = rtt
	}
	w.rtt += (rtt - w.rtt) / 8
}

// patience is how long to wait for progress.
func (w *window) patience() time.Duration {
	return min(max(leastPatience, 4*w.rtt)<<w.backoff, mostPatience)
}

// deadline is when to go back unless there is progress; zero if nothing is
// waited for.
func (w *window) deadline() time.Time {
	if w.next == 0 {
		return time.Time{}
	}
	return w.moved.Add(w.patience())
}

// goBack makes the first batch in flight the next one, and waits twice as long
// for its progress.
func (w *window) goBack() {
	w.next = 0
	if w.patience() < mostPatience {
		w.backoff++
	}
}
