package rollout

// ReasonUnmeasured is of a device that has proved that it runs the bundle, but whose
// golden pictures are no proof on its provider.
const ReasonUnmeasured = "unmeasured"

// The states of a rollout.
const (
	Running     = "running"
	Paused      = "paused"       // by an operator: nothing new is sent
	Succeeded   = "succeeded"    // for good
	Halted      = "halted"       // by what went wrong: nothing new is sent
	Aborted     = "aborted"      // for good; devices that run the bundle keep it
	RollingBack = "rolling_back" // devices are told to go back
	RolledBack  = "rolled_back"  // for good
)

// The states of a device in a rollout.
const (
	Planned       = "planned"          // its wave isn't open
	Assigned      = "assigned"         // it is to install the bundle
	Transferring  = "transferring"     // it fetches it
	Staged        = "staged"           // it has it beside the running one
	Gated         = "gated"            // it has shown that the golden pictures come out right on it
	WaitsOperator = "waiting_operator" // for the operator's OK on the device
	WaitsWindow   = "waiting_window"   // for the time in which it may switch
	Probation     = "probation"        // it runs it and watches it
	Proving       = "proving"          // it runs it for good; the proof, or the results that it names, haven't come
	Proven        = "proven"
	Failed        = "failed" // it refused the bundle, rolled it back, or didn't come to an end in time
	Lying         = "lying"  // its proof doesn't hold
	Silent        = "silent" // nothing was heard of it for too long
	NoStations    = "no_stations"
	Gone          = "revoked"
	Cancelling    = "cancelling"
	Cancelled     = "cancelled"
	Kept          = "kept" // it was too late to cancel: it runs the bundle
	GoingBack     = "rolling_back"
	WentBack      = "rolled_back"
)

// passed reports whether the golden pictures came out right on a device in that state.
func passed(state string) bool {
	return runs(state) || waits(state) || state == Gated
}

// works reports whether a device in that state has something to do for which
// it is given a limited time.
func works(state string) bool {
	switch state {
	case Assigned, Transferring, Staged, Gated, Probation, Proving, Cancelling, GoingBack:
		return true
	}
	return false
}

// waits reports whether a device in that state waits for people or the clock.
func waits(state string) bool { return state == WaitsOperator || state == WaitsWindow }

// failed reports whether it counts as a failure.
func failed(state string) bool { return state == Failed || state == Lying }

// counted reports whether a device in that state is one that a wave is about.
func counted(state string) bool { return state != NoStations && state != Gone }

// runs reports whether the device said that its stations run the bundle.
func runs(state string) bool {
	return state == Probation || state == Proving || state == Proven || state == Kept
}
