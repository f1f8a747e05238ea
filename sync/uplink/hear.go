package uplink

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// hear takes what the fleet said, which may be anything.
func (t *talk) hear(m message, now time.Time) error {
	switch m.kind {
	case wire.KindAck:
		a := new(wire.Ack)
		if wire.Unmarshal(m.payload, a) == nil && a.GetEpoch() == t.u.epoch {
			return t.acknowledged(a, now)
		}
	case wire.KindError:
		r := new(wire.Refusal)
		if wire.Unmarshal(m.payload, r) == nil {
			t.refused(r, now)
			return nil
		}
	}
	t.ignore()
	return nil
}

func (t *talk) ignore() { t.u.update(func(s *Stats) { s.Ignored++ }) }

func (t *talk) acknowledged(a *wire.Ack, now time.Time) error {
	if t.asked && a.GetConnection() == t.s.id {
		return t.answer(a.GetWatermark(), now)
	}
	if !t.located {
		return nil // about an earlier connection's batches; the answer will say more
	}
	switch t.u.window.ack(a.GetWatermark(), now) {
	case progress:
		return t.moved()
	case beyond: // of an earlier run of this program, perhaps: its answer to a greeting counts
		t.ignore()
		t.helloAt = earlier(t.helloAt, now.Add(t.hello.next()))
	}
	return nil
}

// answer takes the fleet's answer to a greeting: where it is, whatever was
// known of that before. It may have been set back, and so may the journal.
func (t *talk) answer(watermark uint64, now time.Time) error {
	// Not Last: a journal that was put back may have grown past it by now.
	if watermark > t.u.cfg.Journal.Stats().Shown {
		return t.overtaken(watermark, now)
	}
	if back := t.u.window.watermark; watermark < back {
		t.u.cfg.Log.Warn("the fleet has less than it had, sending again", "had", back, "has", watermark)
	}
	if !t.answered {
		t.u.cfg.Log.Info("connected to the fleet", "broker", t.u.cfg.Broker, "watermark", watermark)
	}
	t.u.window.locate(watermark, now)
	t.asked, t.located, t.answered, t.helloAt, t.u.silent = false, true, true, time.Time{}, false
	t.hello.reset()
	t.u.update(func(s *Stats) { s.Located, s.Refusal = true, "" })
	t.u.serve(t.s)
	if t.u.cfg.Greeted != nil {
		t.u.cfg.Greeted()
	}
	return t.moved()
}

// overtaken is for a fleet that has records which the journal never had: the
// journal's file was put back from an older copy. Their numbers may not be
// given again in that epoch.
func (t *talk) overtaken(watermark uint64, now time.Time) error {
	if t.u.epoch == t.u.begun { // nobody but this process ever had records of it
		t.ignore()
		return nil
	}
	err := t.u.cfg.Journal.NewEpoch()
	if errors.Is(err, journal.ErrFull) {
		t.u.note(err)
		t.lose(now.Add(jitter(helloMost)))
		return nil
	}
	if err != nil {
		return fatal{err}
	}
	old := t.u.epoch
	t.u.epoch = t.u.cfg.Journal.Epoch()
	t.u.begun = t.u.epoch
	t.u.window.begin()
	t.u.update(func(s *Stats) { s.NewEpochs++ })
	t.u.cfg.Log.Warn("the fleet has more of the journal than there is here, a new epoch begins: was it put back from a copy?",
		"watermark", watermark, "epoch", fmt.Sprintf("%016x", t.u.epoch), "before", fmt.Sprintf("%016x", old))
	t.lose(now)
	return t.moved()
}

// moved passes the watermark on.
func (t *talk) moved() error {
	w := &t.u.window
	t.u.update(func(s *Stats) {
		if w.watermark > s.Watermark {
			s.Acks++
		}
		s.Watermark, s.InFlight, s.RTT = w.watermark, len(w.flight), w.rtt
	})
	if err := t.u.cfg.Journal.Acknowledge(t.u.epoch, w.watermark); err != nil {
		return fatal{err}
	}
	return nil
}

// refused takes the fleet's word that it doesn't take what came.
func (t *talk) refused(r *wire.Refusal, now time.Time) {
	text := shorten(r.GetText())
	switch r.GetCode() {
	case wire.Refusal_CODE_REVOKED:
		t.silence("the fleet has revoked this device", text, now)
	case wire.Refusal_CODE_PROTOCOL:
		t.silence("the fleet doesn't know this program's protocol, update one of the two", text, now)
	case wire.Refusal_CODE_UNAVAILABLE:
		t.u.update(func(s *Stats) { s.Refusal = words("the fleet can't store results now", text) })
		if ms := r.GetRetryMs(); ms > 0 {
			wait := min(time.Duration(ms)*time.Millisecond, refusedFor)
			t.u.window.next = 0
			t.lose(now.Add(jitter(max(wait, leastRetry))))
		}
	case wire.Refusal_CODE_UNREADABLE:
		t.u.update(func(s *Stats) { s.Unreadable++ })
		if !t.warned {
			t.warned = true
			t.u.cfg.Log.Error("the fleet can't read what this device sends", "text", text)
		}
	default:
		t.ignore()
	}
}

// silence sends nothing more but a greeting now and then, which the fleet
// answers when it has changed its mind.
func (t *talk) silence(why, text string, now time.Time) {
	if !t.u.silent {
		t.u.cfg.Log.Error(why, "text", text)
	}
	t.u.silent = true
	t.u.serve(nil)
	t.u.window.next = 0
	t.u.update(func(s *Stats) { s.Refusal = words(why, text) })
	t.lose(now.Add(jitter(refusedFor)))
}

func words(why, text string) string {
	if text == "" {
		return why
	}
	return why + ": " + text
}

// shorten keeps of a text from outside what a page can show.
func shorten(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "\ufffd")
}
