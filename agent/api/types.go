package api

import (
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision"
)

// Now is what an agent says of itself at one moment.
type Now struct {
	Version  string     // of the program
	Began    time.Time  // start of the agent
	Stations []Station  // in the order of the configuration
	Cameras  []Camera   // in the order in which stations name them
	Models   []ModelUse // those that serve a station first
	Health   []health.Raised
	Recorder Recorder
	Journal  Journal
	Doors    []Door
	Fleet    *Fleet         // nil while this agent doesn't send to a fleet
	Lost     uint64         // results that readers of Subscribe were too slow for
	Board    *board.Reading // nil where the hardware isn't read
	Guests   []Guest        // by model
}

// camera is the camera of that name, nil if there is none.
func (n *Now) camera(id string) *Camera {
	for i := range n.Cameras {
		if n.Cameras[i].ID == id {
			return &n.Cameras[i]
		}
	}
	return nil
}

// concerns tells whether a warning is about the station of that name.
func (n *Now) concerns(id string, w health.Raised) bool {
	st := station(n.Stations, id)
	return st != nil && st.concerns(w)
}

// first is the first camera of a station.
func (n *Now) first(s *Station) *Camera {
	if len(s.Views) > 0 {
		if c := n.camera(s.Views[0].Camera); c != nil {
			return c
		}
	}
	return &Camera{}
}

// Recorder counts what the disk did to verdicts.
type Recorder struct {
	Late uint64 // verdicts that weren't on disk by the deadline
	Owed uint64 // records that still wait for the disk
	Lost uint64 // records given up
}

// Journal is what is on disk.
type Journal struct {
	Epoch   uint64
	Last    uint64 // highest number
	Bytes   int64  // of its file
	Dropped uint64 // records dropped for room before the fleet had them
}

// Fleet is how the connection to the fleet service is doing.
type Fleet struct {
	Device       string     `json:"device" doc:"id of this device at the fleet"`
	Group        string     `json:"group" doc:"its group there"`
	Address      string     `json:"address" doc:"of the fleet"`
	Connected    bool       `json:"connected" doc:"whether the connection is there now"`
	Since        *time.Time `json:"since,omitempty" doc:"since when it is there, or gone; absent before the first"`
	Error        string     `json:"error,omitempty" doc:"why it isn't there"`
	Refusal      string     `json:"refusal,omitempty" doc:"why the fleet takes nothing from this device"`
	Acknowledged uint64     `json:"acknowledged" doc:"highest number of the journal that the fleet has"`
	Backlog      uint64     `json:"backlog" doc:"records that wait for the fleet"`
	Certificate  time.Time  `json:"certificate_until" doc:"when the device's certificate ends; it is renewed long before"`
	Renewal      string     `json:"renewal_error,omitempty" doc:"why the certificate couldn't be renewed"`
	Sent         uint64     `json:"records_sent" doc:"since the agent's start"`
	Resent       uint64     `json:"records_resent" doc:"of them, those that had been sent before"`
	SentBytes    uint64     `json:"bytes_sent" doc:"of batches, as MQTT's payload"`
	Connects     uint64     `json:"connects" doc:"connections made since the agent's start"`
}

// State says how a station is doing.
type State string

// The states of a station.
const (
	Starting   State = "starting"   // no picture was inspected yet
	Inspecting State = "inspecting" // pictures come and are inspected
	Stalled    State = "stalled"    // pictures or results have stopped coming; it goes on by itself
	Failed     State = "failed"     // it can't inspect until a person acts
	Ended      State = "ended"      // the recording or folder is over
)

// Station is one inspection point.
type Station struct {
	ID         string      `json:"id" doc:"name of the station" example:"station1"`
	Line       string      `json:"line" doc:"the line that it belongs to, may be empty" example:"A"`
	State      State       `json:"state" enum:"starting,inspecting,stalled,failed,ended" doc:"how it is doing"`
	StateText  string      `json:"state_text" doc:"why, for people; may be empty"`
	Views      []View      `json:"views" doc:"the cameras through which it looks; what is theirs alone is under /v1/cameras"`
	Model      Model       `json:"model" doc:"what looks at the pictures"`
	Rule       Rule        `json:"rule" doc:"what makes the verdict"`
	Signed     bool        `json:"signed" doc:"false while it runs a file that nobody signed: no verified bundle, and no model that is part of the program"`
	Bundle     string      `json:"bundle,omitempty" doc:"name of the signed bundle that it follows; absent for none" example:"caps"`
	Update     *Update     `json:"update,omitempty" doc:"how it is with that bundle; absent where it follows none, or before the first look"`
	Swap       *Swap       `json:"swap,omitempty" doc:"the model that is being swapped in, or was last since the agent's start; absent for none"`
	Mode       string      `json:"mode" enum:"continuous,trigger" doc:"continuous: it follows the parts that it sees; trigger: it inspects when it is told to"`
	Ready      bool        `json:"ready" doc:"whether a verdict could be promised for a trigger that came now; true in continuous mode"`
	NotReady   string      `json:"not_ready,omitempty" doc:"why not, for people"`
	Recipe     string      `json:"recipe,omitempty" doc:"the active recipe; absent without recipes"`
	Recipes    []string    `json:"recipes,omitempty" doc:"all of them, in the order of the configuration"`
	Schedule   Schedule    `json:"schedule" doc:"how its pictures come to their turn"`
	Degraded   Degradation `json:"degradation" doc:"how far it is turned down"`
	Cascade    *Cascade    `json:"cascade,omitempty" doc:"its large model; absent without one"`
	AgeP50     float64     `json:"age_p50_ms" doc:"half of the newest pictures were younger at their result, ms; 0 before the first"`
	AgeP99     float64     `json:"age_p99_ms" doc:"99 of 100 of the newest pictures were younger at their result, ms; 0 before the first"`
	DeadlineMS float64     `json:"deadline_ms" doc:"by when a verdict must be recorded and told, ms after the decision, or after the trigger"`
	Unrecorded string      `json:"unrecorded" enum:"reject,allow" doc:"what is told when a verdict can't be recorded in time"`
	Counts     Counts      `json:"counts" doc:"verdicts told since the agent's start"`
	Hour       Hour        `json:"hour" doc:"the last hour, or since the start if that is shorter"`
	Last       *Result     `json:"last,omitempty" doc:"the newest result; absent before the first"` // from Recent, if there are any

	// Apart is set while the active recipe has a model or bundle of its own, so that
	// the station's own is kept for other recipes at most.
	Apart bool `json:"-"`

	// Recent are the newest results as they were told, newest first, those that
	// aren't recorded too; a dozen is enough. What it lacks is read from the journal.
	Recent []Result `json:"-"`
}

// View is one camera of a station, and what became of its pictures there.
type View struct {
	Camera      string `json:"camera" doc:"name of the camera; that of the station where it has none of its own" example:"left"`
	Inferred    uint64 `json:"frames_inferred" doc:"pictures that the model has seen"`
	Unchanged   uint64 `json:"frames_unchanged" doc:"pictures that showed nothing new, and for which the last result stood (change_gate)"`
	Overwritten uint64 `json:"frames_overwritten" doc:"pictures for which a newer one came before their turn"`
	Failed      uint64 `json:"frames_failed" doc:"pictures that the model gave no result for"`
	Late        uint64 `json:"frames_late" doc:"pictures that were too old at their result, or would have been, and don't count"`
}

// concerns tells whether a warning is about the station, one of its recipes or one of
// its cameras. A camera may have the name of another station.
func (s *Station) concerns(w health.Raised) bool {
	if !strings.HasPrefix(w.Code, "camera_") {
		id, _, _ := strings.Cut(w.Subject, "@") // neither has one in its name
		return id == s.ID
	}
	return slices.ContainsFunc(s.Views, func(v View) bool { return v.Camera == w.Subject })
}

// now tells whether a warning that concerns the station is about what it inspects with,
// and not about what is kept for recipes that aren't active.
func (s *Station) now(w health.Raised) bool {
	_, recipe, ok := strings.Cut(w.Subject, "@")
	switch {
	case !s.concerns(w):
		return false
	case !ok:
		return !s.Apart || w.Code != health.GoldenDiffers.Code
	}
	return strings.HasPrefix(w.Code, "camera_") || recipe == s.Recipe
}

// missed counts pictures that came to the station and weren't inspected.
func (s *Station) missed() uint64 {
	n := uint64(0)
	for _, v := range s.Views {
		n += v.Overwritten + v.Failed + v.Late
	}
	return n
}

// Inferred counts pictures that the model has seen.
func (s *Station) Inferred() uint64 {
	n := uint64(0)
	for _, v := range s.Views {
		n += v.Inferred
	}
	return n
}

// Camera is where pictures come from, and how it is doing. Stations share it.
type Camera struct {
	ID        string     `json:"id" doc:"its name; that of the station where it has none of its own" example:"left"`
	Source    string     `json:"source" doc:"address or path, without credentials"`
	Stations  []string   `json:"stations" doc:"which look through it"`
	State     string     `json:"state" enum:"connecting,waiting,streaming,silent,refused,failed,ended" doc:"how it is doing"`
	Error     string     `json:"error,omitempty" doc:"the newest trouble"`
	LastFault *time.Time `json:"last_fault,omitempty" doc:"when it was lost last; absent if never since the agent's start"`
	Rate      float64    `json:"rate_hz" doc:"pictures a second, measured; 0 while none come"`
	Announced float64    `json:"announced_rate_hz,omitempty" doc:"pictures a second, as it says itself"`
	Codec     string     `json:"codec,omitempty" doc:"of its stream, as far as it is known" example:"h264"`
	Timing    string     `json:"timing,omitempty" enum:"read,arrived,stamped,synced" doc:"how well the time of its pictures is known: when they were read, when they arrived, by the camera's own clock, by that and a common time"`
	Width     int        `json:"width" doc:"of the newest picture, pixels; 0 before the first"`
	Height    int        `json:"height" doc:"of the newest picture, pixels; 0 before the first"`
	LastFrame *time.Time `json:"last_frame,omitempty" doc:"when the newest picture was taken; absent before the first"`
	Captured  uint64     `json:"frames_captured" doc:"pictures that the source gave"`
	Dropped   Dropped    `json:"frames_dropped" doc:"of them, those that no station could have"`
	Restarts  uint64     `json:"restarts" doc:"how often the capture process was started again"`
	Memory    int64      `json:"memory_bytes" doc:"private memory of the capture process"`
	Lies      []Lie      `json:"picture_faults" doc:"what is wrong with its pictures now"`
	Triggers  bool       `json:"software_trigger" doc:"whether POST /v1/cameras/{id}/trigger makes it take a picture"`
	Reference bool       `json:"reference" doc:"whether it has a reference picture, against which it is seen to have moved"`
}

// Lie is something wrong with a camera's pictures.
type Lie struct {
	Fault  string    `json:"fault" enum:"frozen,dark,overexposed,blurred,moved,flicker" doc:"what is wrong"`
	Effect string    `json:"effect" enum:"warn,none" doc:"warn, or none: parts that were in view meanwhile get NONE"`
	Since  time.Time `json:"since" doc:"since when"`
	Detail string    `json:"detail,omitempty" doc:"for people"`
}

// Dropped counts pictures that never reached a station, by reason.
type Dropped struct {
	NoSlot     uint64 `json:"no_slot" doc:"no memory was free for it"`
	Late       uint64 `json:"late" doc:"the decoder passed it over for a newer one"`
	Unreadable uint64 `json:"unreadable" doc:"it was broken"`
	Incomplete uint64 `json:"incomplete" doc:"parts of it were lost on the way"`
	Stale      uint64 `json:"stale" doc:"it was held back on the way, and old when it came"`
}

// Total is the sum over all reasons.
func (d Dropped) Total() uint64 {
	return d.NoSlot + d.Late + d.Unreadable + d.Incomplete + d.Stale
}

// Model is what looks at the pictures.
type Model struct {
	Name     string  `json:"name"`
	Version  string  `json:"version,omitempty"`
	Digest   string  `json:"digest" doc:"SHA-256 of the model's file, hex"`
	Family   string  `json:"family,omitempty" doc:"how its output is read" example:"yolox"`
	P50      float64 `json:"p50_ms" doc:"half of the newest runs were shorter, ms; 0 before the first"`
	P99      float64 `json:"p99_ms" doc:"99 of 100 of the newest runs were shorter, ms; 0 before the first"`
	Restarts uint64  `json:"restarts" doc:"how often its process was started again"`

	Computes *Computes `json:"computes,omitempty" doc:"what it runs on; absent before it is loaded"`
	Building *Building `json:"building,omitempty" doc:"the engine that is built for it now; absent without"`
}

// Computes is what a model runs on.
type Computes struct {
	Provider  string   `json:"provider" enum:"cpu,cuda,tensorrt" doc:"what computes"`
	Precision string   `json:"precision" enum:"float32,float16" doc:"in which numbers"`
	Runtime   string   `json:"onnxruntime" doc:"version of ONNX Runtime" example:"1.27.0"`
	GPU       string   `json:"gpu,omitempty" doc:"name of the accelerator; absent without"`
	Driver    string   `json:"driver,omitempty" doc:"version of its driver; absent without"`
	Engine    string   `json:"engine,omitempty" doc:"tells TensorRT's engines apart, hex; absent without"`
	Passed    []string `json:"passed_over,omitempty" doc:"providers that were tried first, each with why it doesn't compute"`
	Batch     int      `json:"batch,omitempty" doc:"how many cameras' pictures one run may look at, since that was measured to pay; absent for one"`
}

// Building is an engine that TensorRT builds, which takes minutes and doesn't tell how
// far it is.
type Building struct {
	Text    string  `json:"text" doc:"for people" example:"building engine, 3 min 10 s, usually about 4 min 0 s"`
	Phase   string  `json:"phase" doc:"what is done now" example:"building engine"`
	Seconds float64 `json:"seconds" doc:"since when"`
	Usual   float64 `json:"usual_seconds,omitempty" doc:"how long it took last time; absent where that isn't known"`
}

// Rule is what makes a verdict of what the model saw.
type Rule struct {
	Name   string `json:"name" doc:"with its parameters; empty without a rule" example:"threshold:defect>0.5"`
	Digest string `json:"digest,omitempty" doc:"SHA-256 of the rule's module, hex"`
}

// Counts are verdicts as they were told.
type Counts struct {
	Pass uint64 `json:"pass"`
	Fail uint64 `json:"fail"`
	None uint64 `json:"none" doc:"no decision, which rejects"`
}

// Of is the count of one verdict.
func (c Counts) Of(v vision.Verdict) uint64 {
	switch v {
	case vision.Pass:
		return c.Pass
	case vision.Fail:
		return c.Fail
	}
	return c.None
}

// Total is the number of parts.
func (c Counts) Total() uint64 { return c.Pass + c.Fail + c.None }

// Hour is what was told in the last hour.
type Hour struct {
	Counts    Counts  `json:"counts"`
	Yield     *Yield  `json:"first_pass_yield,omitempty" doc:"absent without parts"`
	PerMinute float64 `json:"parts_per_minute"`
	P50       float64 `json:"latency_p50_ms" doc:"decided (in trigger mode: triggered) → recorded and told, half were faster, ms"`
	P99       float64 `json:"latency_p99_ms" doc:"decided (in trigger mode: triggered) → recorded and told, 99 of 100 were faster, ms"`
}

// Yield is the first-pass yield, PASS ÷ all parts, with its 95 % interval
// (Wilson's), 0 to 1.
type Yield struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low" doc:"lower end of the 95 % interval"`
	High  float64 `json:"high" doc:"upper end of the 95 % interval"`
	Parts uint64  `json:"parts" doc:"how many it rests on"`
}

// What the REST interfaces of device and fleet say in common.
type (
	Result      = rest.Result
	Version     = rest.Version
	Told        = rest.Told
	Evidence    = rest.Evidence
	PartView    = rest.PartView
	Look        = rest.Look
	Measurement = rest.Measurement
	Box         = rest.Box
)

// NewBox is the box as JSON has it.
func NewBox(b vision.Box) Box { return rest.NewBox(b) }

// MS is a duration in milliseconds, as JSON has it.
func MS(d time.Duration) float64 { return rest.MS(d) }

// Shot is one live picture with what was seen in it.
type Shot struct {
	Seq           uint64
	JPEG          []byte
	Width, Height int // pixels of the frame that the boxes are in; the JPEG may be smaller
	Marks         Marks
}

// Marks are what is drawn over a live picture.
type Marks struct {
	Parts   []Mark // open parts
	Defects []Mark // detections whose label is a defect
}

// PartPicture is the picture of a part.
type PartPicture struct {
	JPEG   []byte
	Shows  Box    // of the frame that the part's evidence is of; zero if it is another one's
	Camera string // whose frame, of several
}

// Mark is one box over a live picture.
type Mark struct {
	ID      string  `json:"id,omitempty"` // of a part
	Label   string  `json:"label"`
	Score   float32 `json:"score"`
	Box     Box     `json:"box"`
	Suspect bool    `json:"suspect,omitempty"` // a part with a defect so far

	Outlines [][][2]int `json:"outlines,omitempty"` // instead of the box: closed polygons of x, y
}
