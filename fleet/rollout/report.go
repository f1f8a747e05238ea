package rollout

import (
	"bytes"
	"cmp"
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// maxText is how much of what a device says in words is kept, bytes.
const maxText = 500

// Bounds of a report.
const (
	maxStations = 64 // that a device can have
	maxID       = 64 // bytes of a rollout's ID
	// maxLines is how much of what one device says goes into a rollout's history,
	// which is never made shorter.
	maxLines = 200
)

// hear notes a report, if it is about what the device was told last.
func (e *Engine) hear(ctx context.Context, l *live, id string, r *wire.Report, now time.Time) {
	d := l.of[id]
	if d == nil || d.Sent == 0 || d.presence == store.Revoked || !bytes.Equal(r.GetNonce(), d.Nonce[:]) {
		return
	}
	if r.GetProof() == nil && d.Report.GetProof() != nil {
		r.Proof = d.Report.GetProof() // it was told once, and still holds or doesn't
	}
	d.Report, d.Heard, d.dirty = r, now, true
	e.judge(ctx, l, d, now)
}

// judge puts a device where its newest report says that it is.
func (e *Engine) judge(ctx context.Context, l *live, d *device, now time.Time) {
	f := sum(d.Report, l.Digest[:])
	switch {
	case d.Act == wire.Command_ACT_ROLLBACK && f.active > 0 && f.phase != wire.Phase_PHASE_REFUSED:
		l.put(d, now, GoingBack, f.reason, f.text)
	case d.Act == wire.Command_ACT_ROLLBACK && f.active > 0:
		l.put(d, now, Failed, cmp.Or(f.reason, "not_rolled_back"), f.text)
	case d.Act == wire.Command_ACT_ROLLBACK:
		l.put(d, now, WentBack, f.reason, f.text)
	case d.Act == wire.Command_ACT_CANCEL && f.active > 0:
		l.put(d, now, Kept, "", "it was too late to cancel: it runs the bundle")
	case d.Act == wire.Command_ACT_CANCEL:
		l.put(d, now, Cancelled, "", "")
	case f.stations == 0:
		l.put(d, now, NoStations, NoStations, cmp.Or(f.text, "none of its stations follows "+l.Bundle))
	case f.phase == wire.Phase_PHASE_COMMITTED:
		e.prove(ctx, l, d, now)
	default:
		state, reason := stateOf(f)
		l.put(d, now, state, reason, f.text)
	}
}

// findings are what a report says of all stations together.
type findings struct {
	stations     int
	active       int        // stations that run the rollout's bundle
	phase        wire.Phase // of the station that is worst, or else least far
	reason, text string     // of that one
	done, total  uint64     // bytes, of the station that is least far
	unmeasured   string     // of the first station whose golden pictures are no proof
}

func sum(r *wire.Report, digest []byte) findings {
	f := findings{stations: len(r.GetStations()), text: tidy(r.GetText())}
	least := 0
	for i, st := range r.GetStations() {
		if bytes.Equal(st.GetActive(), digest) {
			f.active++
		}
		f.unmeasured = cmp.Or(f.unmeasured, tidy(st.GetUnmeasured()))
		if rank := rankOf(st.GetPhase()); i == 0 || rank < least {
			least = rank
			f.phase, f.reason, f.text = st.GetPhase(), tidy(st.GetReason()), tidy(st.GetText())
			if f.text != "" && len(r.GetStations()) > 1 {
				f.text = tidy(st.GetStation()) + ": " + f.text
			}
			f.done, f.total = st.GetDone(), st.GetTotal()
		}
	}
	return f
}

// rankOf orders phases: what went wrong first, then what is least far.
func rankOf(p wire.Phase) int {
	switch p {
	case wire.Phase_PHASE_ROLLED_BACK:
		return -3
	case wire.Phase_PHASE_REFUSED:
		return -2
	case wire.Phase_PHASE_CANCELLED:
		return -1
	}
	return int(p)
}

// stateOf is the state of a device that is to install and hasn't committed.
func stateOf(f findings) (state, reason string) {
	switch f.phase {
	case wire.Phase_PHASE_TRANSFER:
		return Transferring, f.reason
	case wire.Phase_PHASE_STAGED:
		return Staged, f.reason
	case wire.Phase_PHASE_GATED:
		return Gated, f.reason
	case wire.Phase_PHASE_WAITING:
		switch f.reason {
		case "operator", "download_only":
			return WaitsOperator, f.reason
		case "window":
			return WaitsWindow, f.reason
		}
		return Gated, f.reason
	case wire.Phase_PHASE_PROBATION:
		return Probation, f.reason
	case wire.Phase_PHASE_ROLLED_BACK:
		return Failed, cmp.Or(f.reason, "rolled_back")
	case wire.Phase_PHASE_REFUSED:
		return Failed, cmp.Or(f.reason, "refused")
	case wire.Phase_PHASE_CANCELLED:
		return Failed, cmp.Or(f.reason, "cancelled")
	}
	return Assigned, f.reason
}

// put notes a device's state; what has changed is an event.
func (l *live) put(d *device, now time.Time, state, reason, text string) {
	if d.State == state && d.Reason == reason && d.Text == text {
		return
	}
	news := d.State != state || d.Reason != reason
	if d.State != state {
		d.Changed = now
	}
	d.State, d.Reason, d.Text, d.dirty = state, reason, text, true
	if !news {
		return
	}
	what := state
	if reason != "" && reason != state {
		what += ", " + reason
	}
	if text != "" {
		what += ": " + text
	}
	who := d.Device
	if state == Assigned || state == Silent || state == Gone || state == Lying || state == Proven || reason == ReasonTimeout || reason == ReasonUnproven {
		who = byFleet
	}
	if who == d.Device {
		if d.lines++; d.lines == maxLines {
			what = "it has said so much that no more of it is written down"
		} else if d.lines > maxLines {
			return
		}
	}
	l.say(now, d.Device, who, what)
}

// tidy is a device's text as it is kept.
func tidy(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
