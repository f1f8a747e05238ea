package updater

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// What a record on disk may grow to; see copySize.
const (
	maxText  = 600 // bytes of a text for people
	maxTries = 32  // bundles whose failures are remembered, the newest
)

// command is what the fleet, or a person with a stick, wants of a bundle.
type command struct {
	Act       string    `json:"act"` // install, rollback, cancel
	Rollout   string    `json:"rollout"`
	Nonce     string    `json:"nonce"` // hex
	Bundle    string    `json:"bundle"`
	Version   string    `json:"version"`
	Target    string    `json:"target"`
	Digest    string    `json:"digest"` // hex
	Verdicts  uint32    `json:"verdicts"`
	Probation uint32    `json:"probation_ms"`
	Local     bool      `json:"local,omitempty"` // from a folder, which was checked and copied before
	At        time.Time `json:"at"`
}

const (
	install  = "install"
	rollback = "rollback"
	retract  = "cancel"
)

// id tells commands apart: the nonce alone is of a rollout and a device.
func (c *command) id() string { return c.Act + " " + c.Nonce }

// result is a gate's result that a bundle has on this device.
type result struct {
	Fingerprint string    `json:"fingerprint"` // what it holds for
	Pictures    uint32    `json:"pictures"`
	Passed      uint32    `json:"passed"`
	Provider    string    `json:"provider"`
	Runtime     string    `json:"runtime"`
	Driver      string    `json:"driver"`
	Unmeasured  string    `json:"unmeasured,omitempty"` // why it is no proof on this provider
	At          time.Time `json:"at"`
}

// holds says whether it is a result, and of this hardware.
func (g *result) holds(fingerprint string) bool { return g != nil && g.Fingerprint == fingerprint }

func (g *result) wire() *wire.Gate {
	if g == nil {
		return nil
	}
	return &wire.Gate{Pictures: g.Pictures, Passed: g.Passed, Provider: g.Provider,
		Runtime: g.Runtime, Driver: g.Driver, At: g.At.UnixNano(), Unmeasured: g.Unmeasured}
}

// place is something that a station can run: a bundle, or what the
// configuration names itself. The zero place is nothing.
type place struct {
	Factory bool    `json:"factory,omitempty"`
	Digest  string  `json:"digest,omitempty"`
	Version string  `json:"version,omitempty"`
	Gate    *result `json:"gate,omitempty"`
}

func (p place) none() bool { return !p.Factory && p.Digest == "" }

// same says whether both are the same thing to run.
func (p place) same(q place) bool { return p.Factory == q.Factory && p.Digest == q.Digest }

// What record.Active may be besides A and B.
const (
	slotA   = "A"
	slotB   = "B"
	factory = "factory" // what the configuration names
	nothing = "none"    // nothing good is left
)

// record is all that outlives a power cut about one station. It is never
// changed, only replaced.
type record struct {
	Station string `json:"station"`
	Bundle  string `json:"bundle"` // the name that it followed when this was written
	Phase   Phase  `json:"phase"`
	Reason  Reason `json:"reason,omitempty"`
	Text    string `json:"text,omitempty"`
	Lost    bool   `json:"lost,omitempty"` // the state before this one was damaged

	A      place     `json:"slot_a"`
	B      place     `json:"slot_b"`
	Active string    `json:"active"`
	Good   place     `json:"good"`  // what to go back to: what runs, or ran before what is on probation
	Older  place     `json:"older"` // the good one before that
	Since  time.Time `json:"since,omitzero"`

	Job      command `json:"job,omitzero"`
	Begun    int     `json:"begun,omitempty"` // loads that nobody saw end
	Approved bool    `json:"approved,omitempty"`

	Boots  int      `json:"boots,omitempty"` // starts of the program during probation
	After  uint64   `json:"after,omitempty"` // of the journal, at the activation
	Epoch  uint64   `json:"epoch,omitempty"`
	Before baseline `json:"before,omitzero"` // what the one before was like

	Tries   map[string]tries `json:"tries,omitempty"` // by digest
	Failure *failure         `json:"failure,omitempty"`
}

// tries is how often a bundle failed here, and under which command last.
type tries struct {
	Failed int       `json:"failed"`
	Last   string    `json:"last"` // nonce
	At     time.Time `json:"at"`
}

// failure is the last time that a bundle was refused or rolled back.
type failure struct {
	Digest  string    `json:"digest"`
	Version string    `json:"version"`
	Phase   Phase     `json:"phase"`
	Reason  Reason    `json:"reason"`
	Text    string    `json:"text"`
	At      time.Time `json:"at"`
}

func newRecord(s Station) *record {
	return &record{Station: s.ID, Bundle: s.Bundle, Phase: Resting, Active: factory, Good: place{Factory: true}}
}

func (r *record) clone() *record {
	c := *r
	c.Tries = maps.Clone(r.Tries)
	return &c
}

// slot is where the named slot is kept.
func (r *record) slot(name string) *place {
	if name == slotB {
		return &r.B
	}
	return &r.A
}

// other names the slot that isn't active.
func (r *record) other() string {
	if r.Active == slotA {
		return slotB
	}
	return slotA
}

// active is what the station runs.
func (r *record) active() place {
	switch r.Active {
	case slotA, slotB:
		return *r.slot(r.Active)
	case factory:
		return place{Factory: true}
	default:
		return place{}
	}
}

// unmeasured says why what the gate said here of a bundle, though it passed, is no
// proof; "" where it is, or where it hasn't run.
func (r *record) unmeasured(digest string) string {
	for _, p := range []place{r.A, r.B} {
		if p.Digest == digest && p.Gate != nil {
			return p.Gate.Unmeasured
		}
	}
	return ""
}

// run makes p the active one instead of what is: in the slot where it is, or
// else in that of what it replaces. The other may hold what is staged.
func (r *record) run(p place) {
	switch {
	case p.Factory:
		r.Active = factory
	case p.none():
		r.Active = nothing
	case p.same(r.A):
		r.Active = slotA
	case p.same(r.B):
		r.Active = slotB
	default:
		if r.Active != slotA {
			r.Active = slotB
		}
		*r.slot(r.Active) = p
	}
}

// fallbacks are what may run instead of the active one, the best first.
func (r *record) fallbacks() []place {
	var list []place
	for _, p := range []place{r.Good, r.Older} {
		if !p.none() && !p.same(r.active()) && !slices.ContainsFunc(list, p.same) {
			list = append(list, p)
		}
	}
	return list
}

// fallTo runs p instead of the active one, and forgets what was better.
func (r *record) fallTo(p place) {
	r.run(p)
	if !p.same(r.Good) {
		r.Good, r.Older = p, place{}
	}
}

// digests are all bundles that the record needs on disk.
func (r *record) digests() []string {
	list := []string{r.active().Digest, r.Good.Digest, r.Older.Digest}
	if r.Phase.Open() {
		list = append(list, r.Job.Digest)
	}
	return slices.DeleteFunc(list, func(d string) bool { return d == "" })
}

// failed counts a failure of the job's bundle.
func (r *record) failed(reason Reason, text string, at time.Time) {
	r.Reason, r.Text = reason, clip(text)
	r.Failure = &failure{Digest: r.Job.Digest, Version: r.Job.Version, Phase: r.Phase, Reason: reason, Text: r.Text, At: at}
	if r.Tries == nil {
		r.Tries = map[string]tries{}
	}
	r.Tries[r.Job.Digest] = tries{Failed: r.Tries[r.Job.Digest].Failed + 1, Last: r.Job.Nonce, At: at}
	if len(r.Tries) > maxTries {
		oldest := r.Job.Digest
		for d, t := range r.Tries {
			if t.At.Before(r.Tries[oldest].At) {
				oldest = d
			}
		}
		delete(r.Tries, oldest)
	}
}

// forgive takes the last failure of the job's bundle back: it wasn't its own.
func (r *record) forgive() {
	t := r.Tries[r.Job.Digest]
	if t.Failed--; t.Failed <= 0 {
		delete(r.Tries, r.Job.Digest)
		return
	}
	r.Tries[r.Job.Digest] = t
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return text[:maxText-3] + "..."
}

func (r *record) encode() []byte { return encode(r) }

func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(fmt.Sprintf("BUG: encode a record: %v", err))
	}
	return append(b, '\n')
}

func decodeRecord(b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if !slices.Contains(every, r.Phase) || !slices.Contains([]string{slotA, slotB, factory, nothing}, r.Active) {
		return nil, fmt.Errorf("phase %q and active %q aren't known", r.Phase, r.Active)
	}
	return r, nil
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s) // written by this package; a person's edit gives an empty one
	return b
}
