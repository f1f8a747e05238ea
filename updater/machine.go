package updater

import (
	"fmt"
	"slices"

	"github.com/sightline-edge/sightline/sync/wire"
)

//go:generate go test -run ^TestStatesReference$ . -update

// Phase is how far a station is with the newest command about its bundle.
type Phase string

// The phases. All are on disk.
const (
	Resting    Phase = "resting"
	Assigned   Phase = "assigned"
	Transfer   Phase = "transfer"
	Staged     Phase = "staged"
	Gated      Phase = "gated"
	Waiting    Phase = "waiting"
	Probation  Phase = "probation"
	Committed  Phase = "committed"
	RolledBack Phase = "rolled_back"
	Rejected   Phase = "refused"
	Cancelled  Phase = "cancelled"
)

// phases in the order in which a good update passes them, with what each
// means and what it is on the wire.
var phases = []struct {
	phase   Phase
	wire    wire.Phase
	meaning string
}{
	{Resting, wire.Phase_PHASE_UNSPECIFIED, "No command was ever taken."},
	{Assigned, wire.Phase_PHASE_ASSIGNED, "A command is on disk; the repository's metadata is fetched and checked."},
	{Transfer, wire.Phase_PHASE_TRANSFER, "It is signed; the archive is fetched, verified and unpacked."},
	{Staged, wire.Phase_PHASE_STAGED, "It lies beside the running one, which goes on."},
	{Gated, wire.Phase_PHASE_GATED, "Its golden pictures came out right on this hardware."},
	{Waiting, wire.Phase_PHASE_WAITING, "For the station's window or the operator."},
	{Probation, wire.Phase_PHASE_PROBATION, "It serves, and is watched; what ran before is whole on disk."},
	{Committed, wire.Phase_PHASE_COMMITTED, "It serves for good, and is now the last good."},
	{RolledBack, wire.Phase_PHASE_ROLLED_BACK, "It served; the last good serves again."},
	{Rejected, wire.Phase_PHASE_REFUSED, "It never served, and is not tried again by itself."},
	{Cancelled, wire.Phase_PHASE_CANCELLED, "The fleet took the command back before it served."},
}

// Wire is the phase as reports tell it.
func (p Phase) Wire() wire.Phase {
	for _, d := range phases {
		if d.phase == p {
			return d.wire
		}
	}
	return wire.Phase_PHASE_UNSPECIFIED
}

// Open says whether something is still to come of the command.
func (p Phase) Open() bool { return slices.Contains(before, p) || p == Probation }

// event is what changes a station's record.
type event string

const (
	assign    event = "assign"
	found     event = "found"
	unpacked  event = "unpacked"
	mislaid   event = "mislaid"
	begin     event = "begin"
	giveUp    event = "give up"
	passed    event = "passed"
	hold      event = "hold"
	approve   event = "approve"
	activated event = "activated"
	runs      event = "runs"
	decline   event = "decline"
	renew     event = "renew"
	boot      event = "boot"
	keep      event = "keep"
	back      event = "back"
	recall    event = "recall"
	fall      event = "fall"
	refuse    event = "refuse"
	cancel    event = "cancel"
	proved    event = "proved"
	forget    event = "forget"
)

var (
	before = []Phase{Assigned, Transfer, Staged, Gated, Waiting} // it was active
	ended  = []Phase{Resting, Committed, RolledBack, Rejected, Cancelled}
	every  = slices.Concat(before, []Phase{Probation}, ended)
	stays  = Phase("") // in a transition that only changes what else is on record
)

// machine is every transition there is. What isn't here is a mistake of the
// program, and refused.
var machine = []struct {
	from  []Phase
	event event
	to    Phase
	why   string
}{
	{slices.Concat(ended, before), assign, Assigned, "A new command to install; a newer one replaces an older one. It waits while another bundle is on probation."},
	{slices.Concat(ended, before), runs, Committed, "A new command to install what serves already, for good."},
	{slices.Concat(ended, before), decline, Rejected, "A new command to install what failed too often, or under this very command."},
	{[]Phase{Assigned, Transfer}, found, Transfer, "The metadata is good, and the command's target, length and digest are in it."},
	{[]Phase{Transfer}, unpacked, Staged, "The archive has the signed digest, and its files are whole on disk."},
	{[]Phase{Staged, Gated, Waiting}, mislaid, Assigned, "What was unpacked is damaged or gone: it is fetched again."},
	{[]Phase{Staged, Gated, Waiting}, begin, stays, "A second worker is about to load it. Counted first: it might take the program down."},
	{[]Phase{Staged, Gated, Waiting}, giveUp, stays, "The program ends while it loads: that doesn't count."},
	{[]Phase{Staged}, passed, Gated, "The golden pictures came out as recorded, within the tolerances."},
	{[]Phase{Gated}, hold, Waiting, "The station's policy doesn't let it switch now."},
	{[]Phase{Gated, Waiting}, approve, stays, "An operator's OK."},
	{[]Phase{Gated, Waiting}, activated, Probation, "It serves from the next part on."},
	{[]Phase{Probation, RolledBack}, renew, stays, "Another command about the same bundle."},
	{[]Phase{Probation}, boot, stays, "The program started during probation."},
	{[]Phase{Probation}, keep, Committed, "Watched for long enough, enough verdicts told, nothing wrong."},
	{[]Phase{Probation, Committed}, back, RolledBack, "It misbehaved, is damaged on disk, can no longer be loaded, fails its gate after a change of runtime or driver or while it serves, or the program started too often."},
	{slices.Concat(before, []Phase{Probation, Committed, RolledBack, Rejected, Cancelled}), recall, RolledBack, "The fleet commands to go back from the active bundle. What else was under way is forgotten."},
	{slices.Concat(before, ended), fall, stays, "The active bundle is damaged on disk or can no longer be loaded, or fails its gate after a change of runtime or driver or while it serves: the last good serves."},
	{before, refuse, Rejected, "Untrusted, damaged, unusable here, failed its gate, or tried too often."},
	{before, cancel, Cancelled, "The fleet takes the command back."},
	{every, proved, stays, "The active bundle passed its gate again, or failed it with nothing to go back to: then the next start gates it before it serves."},
	{every, forget, Resting, "The station now follows a bundle of another name, or both copies of its state are damaged."},
}

// next is the phase after the event, or an error if the machine doesn't have
// that transition.
func next(from Phase, e event) (Phase, error) {
	for _, t := range machine {
		if t.event == e && slices.Contains(t.from, from) {
			if t.to == stays {
				return from, nil
			}
			return t.to, nil
		}
	}
	return "", fmt.Errorf("BUG: a station that is %s can't %s", from, e)
}
