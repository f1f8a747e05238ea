package plc

import "github.com/sightline-edge/sightline/vision"

// queueLength is how many triggers may wait for their result or its
// acknowledgement: a controller that is further behind gets no promise.
const queueLength = 8

// handshake is what the controller and the device have told each other. It knows
// neither clock nor wire; its owner's lock protects it.
//
// A trigger is accepted only while its result has a place, so no result is ever
// dropped for room; what can't be accepted is missed, latched and counted.
type handshake struct {
	queue []*inspection // accepted, in order, until acknowledged
	shown *inspection   // the result under Results Valid: the queue's first, or nil
	open  int           // inspections that run, forgotten ones too

	trigger, ack bool // the controller's levels
	accepted     bool // Trigger Ack
	missed       bool // latched until clear
	overrun      bool // latched until clear

	number   uint16 // of the last accepted trigger
	sequence uint16 // of the last result that was shown; 0 before the first
	counts   LineStats
}

// inspection is one accepted trigger.
type inspection struct {
	trigger   Trigger
	number    uint16
	answer    Answer
	answered  bool
	forgotten bool // nobody waits for it any more
}

// passes tells whether the part is known to be good by now.
func (i *inspection) passes() bool {
	return i != nil && i.answered && !i.forgotten && i.answer.Verdict == vision.Pass
}

// LineStats counts what became of triggers.
type LineStats struct {
	Triggers     uint64 // that were accepted
	Missed       uint64 // that came when no verdict could be promised
	Overruns     uint64 // times that all results were waiting for the controller
	Results      uint64 // that were shown to the controller
	Acknowledged uint64
	Lost         uint64 // results that nobody fetched: the controller was gone, or began anew
	Waiting      int    // accepted and not acknowledged, now
}

// room tells whether one more trigger's result has a place.
func (h *handshake) room() bool { return len(h.queue) < queueLength && h.open < queueLength }

// raise takes the trigger's rising edge. It gives the inspection to be begun, or
// nil: no edge, or one that was missed.
func (h *handshake) raise(t Trigger, ready bool) *inspection {
	if h.trigger {
		return nil
	}
	h.trigger = true
	if !ready || !h.room() {
		h.miss()
		return nil
	}
	h.number = next(h.number)
	h.accepted = true
	h.open++
	h.counts.Triggers++
	i := &inspection{trigger: t, number: h.number}
	h.queue = append(h.queue, i)
	return i
}

func (h *handshake) miss() {
	h.missed = true
	h.counts.Missed++
}

// lower takes the trigger's falling edge.
func (h *handshake) lower() { h.trigger, h.accepted = false, false }

// answer takes an inspection's result. Each is given once.
func (h *handshake) answer(i *inspection, a Answer) {
	h.open--
	if i.forgotten {
		return
	}
	i.answer, i.answered = a, true
	if h.finished() == queueLength {
		h.overrun = true
		h.counts.Overruns++
	}
	h.show()
}

func (h *handshake) finished() int {
	n := 0
	for _, i := range h.queue {
		if i.answered {
			n++
		}
	}
	return n
}

// show raises Results Valid for the oldest trigger's result, once the last one's
// acknowledgement has been taken back.
func (h *handshake) show() {
	if h.shown == nil && !h.ack && len(h.queue) > 0 && h.queue[0].answered {
		h.shown = h.queue[0]
		h.sequence = next(h.sequence)
		h.counts.Results++
	}
}

// acknowledge takes the level of Results Ack: its rising edge fetches the result
// that is shown, its falling edge makes way for the next.
func (h *handshake) acknowledge(level bool) {
	if level && !h.ack && h.shown != nil {
		h.queue, h.shown = h.queue[1:], nil
		h.counts.Acknowledged++
	}
	h.ack = level
	h.show()
}

// clear takes the latched faults back.
func (h *handshake) clear() { h.missed, h.overrun = false, false }

// forget drops every result that isn't acknowledged: who comes next must not take
// them for those of its own parts.
func (h *handshake) forget() {
	for _, i := range h.queue {
		i.forgotten = true
	}
	h.counts.Lost += uint64(len(h.queue))
	h.queue, h.shown = nil, nil
	h.trigger, h.ack, h.accepted = false, false, false
}

// next counts on; 0 stands for none.
func next(n uint16) uint16 {
	if n++; n == 0 {
		n = 1
	}
	return n
}

// refuse gives a trigger that was missed its place among the results, on a door
// whose results are told apart by their order alone. Where there is no place the
// order is lost, and nothing that waits may pass a part any more.
func (h *handshake) refuse(t Trigger) {
	if len(h.queue) == queueLength {
		h.forget()
		return
	}
	h.queue = append(h.queue, &inspection{
		trigger: t, answered: true,
		answer: Answer{TriggerID: t.ID, PartID: t.Part, Verdict: vision.None, Reason: vision.ReasonOverrun},
	})
	h.show()
}
