package updater

// Reason is why a phase isn't good, or what it waits for: a code that the
// fleet, the page and people's scripts read.
type Reason string

// The reasons. Those that wait end by themselves or by a person's act; those
// that end an update are for good, until another command.
const (
	FleetUnreachable Reason = "fleet_unreachable"
	NoSpace          Reason = "space"
	Storage          Reason = "storage"
	Busy             Reason = "busy"
	WaitsForWindow   Reason = "window"
	WaitsForOperator Reason = "operator"
	Downloaded       Reason = "download_only"
	OnProbation      Reason = "probation"
	Idle             Reason = "idle"

	Untrusted    Reason = "untrusted"
	Damaged      Reason = "damaged"
	BadModel     Reason = "bad_model"
	GoldenGate   Reason = "golden_gate"
	TooManyTries Reason = "too_many_tries"

	Crashes     Reason = "crashes"
	Slow        Reason = "slow"
	Late        Reason = "late"
	NoneRate    Reason = "none_rate"
	Hot         Reason = "hot"
	Restarts    Reason = "restarts"
	Lost        Reason = "lost"
	Superseded  Reason = "superseded"
	Commanded   Reason = "commanded"
	NotRunning  Reason = "not_running"
	NoGoodLeft  Reason = "no_good_left"
	StateLost   Reason = "state_lost"
	OtherBundle Reason = "other_bundle"
)

// reasons with their meaning, in the order in which they are documented.
var reasons = []struct {
	code    Reason
	meaning string
}{
	{FleetUnreachable, "Waits: the fleet doesn't answer; it is asked again, less and less often."},
	{NoSpace, "Waits: the disk has no room."},
	{Storage, "Waits: the disk gives errors."},
	{Busy, "Waits: the fleet or this device is too busy; it is tried again."},
	{WaitsForWindow, "Waits for the station's window, or for an operator."},
	{WaitsForOperator, "Waits for an operator's OK on the device's page."},
	{Downloaded, "Waits, proved and on disk: the station is configured to download only."},
	{OnProbation, "Waits until the bundle that is on probation is committed or rolled back."},
	{Idle, "On probation for 30 minutes, and too few verdicts to judge it by."},
	{Untrusted, "Not signed as the repository's root demands, or not what was commanded."},
	{Damaged, "What came isn't the signed archive, or it can't be unpacked to what it says of itself."},
	{BadModel, "The model or rule can't be loaded on this device, or has other labels than the large model of the station's configuration."},
	{GoldenGate, "Its golden pictures come out differently on this hardware."},
	{TooManyTries, "It was begun or failed too often on this device."},
	{Crashes, "On probation its worker crashed."},
	{Slow, "On probation the model took longer than the station can bear."},
	{Late, "On probation verdicts came after their deadline."},
	{NoneRate, "On probation more parts than before had no verdict."},
	{Hot, "On probation the device became too hot."},
	{Restarts, "On probation the program started more than twice."},
	{Lost, "What is on disk of the active bundle is damaged."},
	{Superseded, "On probation for too long with too few verdicts while another bundle waits."},
	{Commanded, "The fleet commanded to go back."},
	{NotRunning, "The fleet commanded to go back from a bundle that isn't active."},
	{NoGoodLeft, "There is nothing good to go back to."},
	{StateLost, "Both copies of the station's state are damaged: what ran isn't known."},
	{OtherBundle, "The station now follows a bundle of another name."},
}
