package updater

import "time"

// StationStatus is how a station is with its bundle, for people and programs
// on the device.
type StationStatus struct {
	Station string
	Bundle  string // the name that it follows
	Policy  Policy
	Active  ActiveBundle
	Next    *NextBundle // nil where no command was ever taken
	Failure *Failure    // the last one; nil for none
}

// ActiveBundle is what a station runs.
type ActiveBundle struct {
	Factory bool   // what the configuration names itself
	None    bool   // nothing good is left; Reason says why
	Version string // of a bundle
	Digest  string // hex
	Since   time.Time
	Reason  Reason
	Text    string

	Unmeasured string // why its golden pictures, though they came out right, are no proof here; "" where they are
}

// NextBundle is how far the newest command is; it may have come to its end.
type NextBundle struct {
	Version     string
	Digest      string
	Phase       Phase
	Reason      Reason
	Text        string
	Done, Total uint64 // bytes, while it is fetched
	Tries       int    // times that this bundle failed here before
	Approvable  bool   // it waits, and Approve makes it go on
	Unmeasured  string // as ActiveBundle's
}

// Failure is the last bundle that was refused or rolled back.
type Failure struct {
	Version  string
	Digest   string
	Phase    Phase // Rejected or RolledBack
	Reason   Reason
	Text     string
	At       time.Time
	Pictures []string // paths of drawn pictures: expected beside found
}

// Status is that of all stations, in the configuration's order.
func (u *Updater) Status() []StationStatus {
	var list []StationStatus
	for _, s := range u.stations {
		r := s.rec.Load()
		p := r.active()
		st := StationStatus{Station: s.ID, Bundle: s.Bundle, Policy: s.Policy, Active: ActiveBundle{
			Factory: p.Factory, None: p.none(), Version: p.Version, Digest: p.Digest, Since: r.Since,
		}}
		if p.Gate != nil {
			st.Active.Unmeasured = p.Gate.Unmeasured
		}
		if st.Policy == "" {
			st.Policy = Auto
		}
		if p.none() {
			st.Active.Reason, st.Active.Text = r.Reason, r.Text
		}
		if r.Job.Nonce != "" {
			st.Next = u.nextOf(s, r)
		}
		if f := r.Failure; f != nil {
			st.Failure = &Failure{
				Version: f.Version, Digest: f.Digest, Phase: f.Phase, Reason: f.Reason, Text: f.Text, At: f.At, Pictures: u.pictures(f.Digest),
			}
		}
		list = append(list, st)
	}
	return list
}

func (u *Updater) nextOf(s *station, r *record) *NextBundle {
	up := u.update(s, &r.Job)
	return &NextBundle{
		Version: r.Job.Version, Digest: r.Job.Digest, Phase: r.Phase, Reason: Reason(up.GetReason()), Text: up.GetText(),
		Done: up.GetDone(), Total: up.GetTotal(), Tries: r.Tries[r.Job.Digest].Failed,
		Approvable: (r.Phase == Waiting || r.Phase == Gated) && !r.Approved, Unmeasured: r.unmeasured(r.Job.Digest),
	}
}
