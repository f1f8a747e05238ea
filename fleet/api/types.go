package api

import (
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision"
)

// Result is one inspected part as the fleet has it.
type Result struct {
	FleetID  int64     `json:"fleet_id" doc:"its number at the fleet, the order of arrival over all devices"`
	Device   string    `json:"device"`
	Epoch    string    `json:"epoch" doc:"of the device's journal, hex; numbers of different epochs have nothing to do with each other"`
	Received time.Time `json:"received" doc:"by the fleet's clock; all other times are by the device's"`
	rest.Result
}

func newResult(r *store.Row) Result {
	out := Result{FleetID: r.ID, Device: r.Device, Epoch: hex64(r.Epoch), Received: r.Received}
	if r.Record == nil {
		out.Result = rest.Result{Seq: r.Seq, ID: r.Part, Station: r.Station, Label: r.Label, Verdict: r.Verdict, Reason: r.Reason, Decided: r.Decided}
		return out
	}
	out.Result = rest.FromWire(r.Seq, r.Record)
	if v, reason := r.Record.Answered(r.Told); v != out.Verdict || reason != out.Reason {
		out.Told = &rest.Told{Verdict: v, Reason: reason}
	}
	return out
}

// hex64 is an epoch or a connection as people compare it.
func hex64(n uint64) string { return fmt.Sprintf("%016x", n) }

// Device is one enrolled device.
type Device struct {
	ID          string          `json:"id"`
	Group       string          `json:"group"`
	Label       string          `json:"label,omitempty" doc:"for people, such as its place"`
	Hostname    string          `json:"hostname,omitempty"`
	Presence    store.Presence  `json:"presence" enum:"never,online,stale,offline,revoked" doc:"stale: nothing was heard for three of its intervals; offline: its connection was told to have ended"`
	Since       time.Time       `json:"since" doc:"since when it is so"`
	Enrolled    time.Time       `json:"enrolled"`
	Heard       *time.Time      `json:"heard,omitempty" doc:"the newest message of any kind"`
	Revoked     *time.Time      `json:"revoked,omitempty"`
	Certificate Certificate     `json:"certificate"`
	Worst       string          `json:"worst" enum:"ok,info,warn,error" doc:"the highest severity among warnings"`
	Warnings    []health.Raised `json:"warnings" doc:"its own and the fleet's about it, the worst first; what holds when it was heard last"`
	StateAt     *time.Time      `json:"state_at,omitempty" doc:"when it told what follows: stations, journal and board"`
	Stations    []Station       `json:"stations"`
	Journal     *Journal        `json:"journal,omitempty" doc:"absent before its first message"`
	Board       *Board          `json:"board,omitempty" doc:"what its hardware measures; what is absent wasn't measured"`
	Inventory   *Inventory      `json:"inventory,omitempty"`
	Last        *Last           `json:"last,omitempty" doc:"the newest result received"`
}

// Certificate is the newest that the device was given.
type Certificate struct {
	Serial   string     `json:"serial,omitempty" doc:"hex"`
	NotAfter *time.Time `json:"not_after,omitempty"`
}

// Station is how one of the device's stations is doing.
type Station struct {
	ID           string  `json:"id"`
	Line         string  `json:"line,omitempty"`
	State        string  `json:"state" doc:"starting, inspecting, stalled, failed, ended"`
	Text         string  `json:"text,omitempty" doc:"why"`
	Model        string  `json:"model,omitempty"`
	ModelVersion string  `json:"model_version,omitempty"`
	ModelDigest  string  `json:"model_digest,omitempty" doc:"SHA-256, hex"`
	Rule         string  `json:"rule,omitempty"`
	Bundle       string  `json:"bundle,omitempty" doc:"name of the signed bundle that it follows"`
	BundleDigest string  `json:"bundle_digest,omitempty" doc:"SHA-256 of the signed bundle that runs, hex; absent for what wasn't one"`
	Unsigned     bool    `json:"unsigned,omitempty" doc:"it runs a file that nobody signed"`
	Unmeasured   string  `json:"unmeasured,omitempty" doc:"why the golden pictures of the bundle that runs, though they came out right, are no proof on this device's provider; absent where they are, or where its agent is too old to tell"`
	Recipe       string  `json:"recipe,omitempty" doc:"which is active; absent without recipes"`
	Step         string  `json:"step,omitempty" doc:"how far it is turned down for want of computing time: full, slower, smaller, or none, which rejects all; absent is full"`
	Pass         uint64  `json:"pass" doc:"told since the agent's start, as the next two"`
	Fail         uint64  `json:"fail"`
	None         uint64  `json:"none"`
	Frames       uint64  `json:"frames" doc:"pictures captured"`
	Inferred     uint64  `json:"inferred" doc:"of them, those that the model has seen"`
	Rate         float32 `json:"rate_hz" doc:"pictures a second"`
}

// Journal is where the device's journal is.
type Journal struct {
	Epoch     string `json:"epoch" doc:"hex"`
	Last      uint64 `json:"last" doc:"highest number on the device"`
	Watermark uint64 `json:"watermark" doc:"the fleet has everything up to this number"`
	Backlog   uint64 `json:"backlog" doc:"records that the fleet doesn't have yet"`
	Bytes     uint64 `json:"bytes" doc:"of its records"`
	Dropped   uint64 `json:"dropped" doc:"records that the device had to drop before the fleet had them"`
}

// Board is what the hardware measures.
type Board struct {
	Temperatures    []Temperature `json:"temperatures,omitempty"`
	Load            *float32      `json:"load_1m,omitempty" doc:"one minute's load average"`
	CPU             *float32      `json:"cpu_busy,omitempty" doc:"share of all cores that was busy, 0 to 1"`
	MemoryTotal     *uint64       `json:"memory_total_bytes,omitempty"`
	MemoryAvailable *uint64       `json:"memory_available_bytes,omitempty" doc:"that programs could still get"`
	DiskTotal       *uint64       `json:"disk_total_bytes,omitempty" doc:"of the data directory's file system"`
	DiskFree        *uint64       `json:"disk_free_bytes,omitempty"`
	GPUs            []GPU         `json:"gpus,omitempty"`
}

// Temperature is one sensor's.
type Temperature struct {
	Name  string  `json:"name"`
	Value float32 `json:"temperature_c"`
}

// GPU is one accelerator's state.
type GPU struct {
	Name        string   `json:"name"`
	Load        *float32 `json:"load,omitempty" doc:"0 to 1"`
	Temperature *float32 `json:"temperature_c,omitempty"`
	MemoryTotal *uint64  `json:"memory_total_bytes,omitempty"`
	MemoryUsed  *uint64  `json:"memory_used_bytes,omitempty"`
	Power       *float32 `json:"power_w,omitempty"`
	Clock       *uint64  `json:"clock_hz,omitempty"`
}

// Inventory is what the device is made of.
type Inventory struct {
	Version string   `json:"version,omitempty" doc:"of the agent"`
	OS      string   `json:"os,omitempty"`
	Kernel  string   `json:"kernel,omitempty"`
	Arch    string   `json:"arch,omitempty"`
	Model   string   `json:"model,omitempty" doc:"of the board"`
	Serial  string   `json:"serial,omitempty" doc:"of the board"`
	JetPack string   `json:"jetpack,omitempty"`
	Cores   uint32   `json:"cores,omitempty"`
	Memory  uint64   `json:"memory_bytes,omitempty"`
	GPUs    []string `json:"gpus,omitempty"`
}

// Last is the newest result that came from a device.
type Last struct {
	FleetID  int64          `json:"fleet_id"`
	Verdict  vision.Verdict `json:"verdict" enum:"PASS,FAIL,NONE" doc:"as the line was told it"`
	Reason   string         `json:"reason"`
	Station  string         `json:"station"`
	Part     string         `json:"part"`
	Decided  time.Time      `json:"decided" doc:"by the device's clock"`
	Received time.Time      `json:"received"`
}

func newDevice(d *store.Device, now time.Time) Device {
	presence, since := d.Presence(now)
	out := Device{
		ID: d.ID, Group: d.Group, Label: d.Label, Hostname: d.Hostname,
		Presence: presence, Since: since, Enrolled: d.Enrolled, Heard: some(d.Heard), Revoked: some(d.Revoked),
		Certificate: Certificate{Serial: d.CertSerial, NotAfter: some(d.CertNotAfter)},
		Worst:       "ok", Warnings: judge(d, now), StateAt: some(d.StateAt), Stations: []Station{},
		Journal: newJournal(d), Board: newBoard(d.State.GetBoard()), Inventory: newInventory(d.Hello.GetInventory()),
	}
	if w := health.Worst(out.Warnings); w != 0 {
		out.Worst = w.String()
	}
	for _, st := range d.State.GetStations() {
		out.Stations = append(out.Stations, Station{
			ID: st.GetId(), Line: st.GetLine(), State: st.GetState(), Text: st.GetText(), Model: st.GetModel(),
			ModelVersion: st.GetModelVersion(), ModelDigest: st.GetModelDigest(), Rule: st.GetRule(), Pass: st.GetPass(),
			Fail: st.GetFail(), None: st.GetNone(), Frames: st.GetFrames(), Inferred: st.GetInferred(), Rate: rest.Finite(st.GetRate()),
			Bundle: st.GetBundle(), BundleDigest: st.GetBundleDigest(), Unsigned: st.GetUnsigned(), Recipe: st.GetRecipe(), Step: st.GetStep(),
			Unmeasured: st.GetUnmeasured(),
		})
	}
	if r := d.Last; r != nil {
		out.Last = &Last{
			FleetID: r.ID, Verdict: r.Verdict, Reason: r.Reason, Station: r.Station, Part: r.Part, Decided: r.Decided, Received: r.Received,
		}
	}
	return out
}

// some is nil for a time that hasn't come.
func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// newJournal is from the newest State, and before that from Hello.
func newJournal(d *store.Device) *Journal {
	j := &Journal{Epoch: hex64(d.Epoch), Watermark: d.Watermark, Last: d.Watermark}
	switch state := d.State.GetJournal(); {
	case state != nil && state.GetEpoch() == d.Epoch:
		j.Last, j.Bytes, j.Dropped = state.GetLast(), state.GetBytes(), state.GetDropped()
	case d.Hello != nil:
		j.Last = d.Hello.GetLast()
	default:
		return nil
	}
	j.Last = max(j.Last, j.Watermark) // results come faster than states
	j.Backlog = j.Last - j.Watermark
	return j
}

func newBoard(b *wire.Board) *Board {
	if b == nil {
		return nil
	}
	out := &Board{
		Load: measured(b.Load), CPU: measured(b.Cpu), MemoryTotal: b.MemoryTotal, MemoryAvailable: b.MemoryAvailable, DiskTotal: b.DiskTotal, DiskFree: b.DiskFree,
	}
	for _, t := range b.GetTemperatures() {
		if v := t.GetValue(); v == rest.Finite(v) {
			out.Temperatures = append(out.Temperatures, Temperature{t.GetName(), v})
		}
	}
	for _, g := range b.GetGpus() {
		out.GPUs = append(out.GPUs, GPU{
			Name: g.GetName(), Load: measured(g.Load), Temperature: measured(g.Temperature),
			MemoryTotal: g.MemoryTotal, MemoryUsed: g.MemoryUsed, Power: measured(g.Power), Clock: g.Clock,
		})
	}
	return out
}

// measured is nil for what is no number.
func measured(v *float32) *float32 {
	if v == nil || *v != rest.Finite(*v) {
		return nil
	}
	return v
}

func newInventory(i *wire.Inventory) *Inventory {
	if i == nil {
		return nil
	}
	return &Inventory{
		Version: i.GetVersion(), OS: i.GetOs(), Kernel: i.GetKernel(), Arch: i.GetArch(), Model: i.GetModel(), Serial: i.GetSerial(),
		JetPack: i.GetJetpack(), Cores: i.GetCores(), Memory: i.GetMemoryBytes(), GPUs: i.GetGpus(),
	}
}
