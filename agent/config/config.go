// Package config reads the agent's configuration: YAML over documented
// defaults, strictly, with every fault told at once by file and line.
package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/vision"
)

//go:generate go test -run ^TestReferenceIsFresh$ . -update

// Config is the configuration of one device. Paths in it are absolute or
// relative to the working directory: Load has resolved them against the
// folder of the file.
type Config struct {
	Listen   string    `yaml:"listen" doc:"Address and port of the page, the REST interface and the metrics. There is no login on the device yet: anything but loopback is warned about. Port 0 lets the system choose."`
	Data     string    `yaml:"data" doc:"Folder for the journal. It is made when it isn't there. The flag --data overrides it."`
	Infer    Infer     `yaml:"infer" doc:"How models are run."`
	Journal  Journal   `yaml:"journal" doc:"How results are kept."`
	Fleet    Fleet     `yaml:"fleet" doc:"What is told to the fleet service, once the device is enrolled (sightline-agent enroll)."`
	Updates  Updates   `yaml:"updates" doc:"How signed bundles come to this device."`
	Cameras  []Camera  `yaml:"cameras" doc:"The cameras that stations name. One that a single station uses may stand there instead."`
	Stations []Station `yaml:"stations" need:"yes" doc:"The inspection points of this device, at least one."`
	PLC      []Door    `yaml:"plc" doc:"Doors for the line's controller, none by default."`

	// Warnings are settings that work but deserve a second look.
	Warnings Faults `yaml:"-"`

	file  string
	lines map[string]int // key path, as in stations[0].model → line; values that were set, and mappings
}

// Infer says how models are run.
type Infer struct {
	ONNXRuntime string `yaml:"onnxruntime" doc:"File of the ONNX Runtime library. Empty: SIGHTLINE_ONNXRUNTIME, then beside the program, then where the system's loader looks."`
	Provider    string `yaml:"provider" doc:"What computes: auto, cpu, cuda or tensorrt. auto takes the first of tensorrt, cuda and cpu that ONNX Runtime and the device have; one that is named isn't replaced. Empty: SIGHTLINE_PROVIDER, then auto."`
	Precision   string `yaml:"precision" doc:"In which numbers models of float32 may be computed: float32, or float16 where TensorRT finds that faster (docs/gpu.md). CUDA and the processor always compute them in float32."`
	EnginesMB   int    `yaml:"engines_mb" doc:"How much room TensorRT's engines may take in the cache folder, in MB (10^6 bytes), 100 to 1000000. Beyond it those go that weren't used for longest."`
	Threads     int    `yaml:"threads" doc:"Processor threads for each model, 1 to 64."`
	Parallel    int    `yaml:"parallel" doc:"How many models run at once, 1 to 64. 0: one on an accelerator, on the processor as many as have cores of their own."`
	Batch       int    `yaml:"batch" doc:"How many cameras' pictures one run of a model may look at, 1 to 8, where stations share the model, its file leaves the number open, and a measurement at its load says that it pays. 0: 8 on an accelerator, on the processor 1."`
	MemoryMB    int    `yaml:"memory_mb" doc:"Memory that a model's process may have for itself, in MB (10^6 bytes), 64 to 1000000, without what an accelerator holds. A model that takes more while it is loaded is refused; a process that grows beyond it is replaced between two pictures. 0: half of the memory that this program may use."`
}

// Journal says how results are kept.
type Journal struct {
	LimitMB int `yaml:"limit_mb" doc:"How much room results may take, in MB (10^6 bytes), 16 to 1000000; 0 is without a limit. Beyond it the oldest are dropped: first those that the fleet has, then those that it hasn't, which is told as a warning and to the fleet."`
}

// Fleet says what is told to the fleet service.
type Fleet struct {
	Report time.Duration `yaml:"report" doc:"How often the device tells how it is doing, 1s to 10m. The fleet shows it as stale when nothing came for three times that. Results are sent as they are made."`
}

// Updates says how signed bundles come to the device.
type Updates struct {
	Transfer Transfer `yaml:"transfer" doc:"How bundles are fetched from the fleet: mqtt (through the connection that the device keeps anyway) or http (ranges of a file over HTTPS, faster where the network lets it through)."`
}

// Transfer says how bundles are fetched.
type Transfer string

// The values of Transfer.
const (
	MQTT Transfer = "mqtt"
	HTTP Transfer = "http"
)

// Station is one inspection point.
type Station struct {
	ID          string                 `yaml:"id" need:"yes" example:"station1" doc:"Name of the station: letters, digits, dot, dash and underscore, at most 64. It stands in addresses, results and metrics."`
	Line        string                 `yaml:"line" example:"A" doc:"The line that it belongs to, a label for people."`
	Camera      Camera                 `yaml:"camera" doc:"Where its pictures come from: the name of one of cameras, or the settings of one."`
	Alike       int                    `yaml:"-"` // cameras of all stations that name the same model or bundle, its own included
	Cameras     []string               `yaml:"cameras" example:"[left, right]" doc:"Instead of camera: the names of several cameras. Each shows parts of its own."`
	ChangeGate  time.Duration          `yaml:"change_gate" doc:"How long at most a picture in which nothing has changed isn't inspected again, as 500ms; the last result stands for it. 0: every picture is inspected."`
	Model       string                 `yaml:"model" example:"drawn-parts" doc:"An ONNX file, a bundle's folder, or the name of a model that is shipped. Needed without bundle; with it, what runs until the first signed bundle has come. A file or folder needs allow_unsigned: true."`
	Bundle      string                 `yaml:"bundle" example:"caps" doc:"Name of the signed bundle that the station follows: what the fleet, or an operator, installs under that name runs here once it is verified and has proved itself on this device."`
	Family      string                 `yaml:"family" example:"yolox" doc:"How the model's output is read. Needed for plain files that don't tell it."`
	Labels      map[string]vision.Role `yaml:"labels" example:"{part: part, scratch: defect}" doc:"What the model's labels mean: part, defect or ignored. Overrides what the model says itself."`
	Rule        string                 `yaml:"rule" example:"\"threshold:defect>0.5\"" doc:"What turns detections into a verdict: threshold:… or a .wasm file. Empty: the bundle's own rule; without one every part is NONE no_rule, and so rejected."`
	Mode        Mode                   `yaml:"mode" doc:"continuous (the station follows the parts that its cameras see) or trigger (it inspects when it is told to: docs/plc.md)."`
	Trigger     Trigger                `yaml:"trigger" doc:"mode: trigger."`
	Criticality string                 `yaml:"criticality" doc:"Whose pictures go first where there are more than can be inspected: critical, normal or best_effort."`
	MinRate     float64                `yaml:"min_rate" doc:"Pictures a second, of each camera, that the station needs to see every part. With fewer it goes first in its class; where that doesn't help it degrades. 0: any."`
	MaxAge      time.Duration          `yaml:"max_age" doc:"How old a picture may be at its result, 10ms to 1m. What would be older isn't inspected."`
	Decide      string                 `yaml:"decide" example:"\"x=0.5\"" doc:"When a part that is followed is decided: end (it has left the picture), x=0.5 or y=0.5 (it crosses that line, as a share of the width or height), zone X,Y W,H (it leaves that), frames N. Empty: end."`
	Combine     string                 `yaml:"combine" example:"\"2 of 5\"" doc:"What a part's pictures together say about a defect: any, majority, K of N, best (the best view). Empty: three or more must agree (docs/frame-to-verdict.md)."`
	Small       string                 `yaml:"small_model" doc:"A smaller model with the same labels, which looks instead while the device is overloaded."`
	Cascade     Cascade                `yaml:"cascade" doc:"A large model that looks at the parts that are in doubt (docs/cascade.md). The rule can ask for it too."`
	Recipes     []Recipe               `yaml:"recipes" doc:"What the station can be changed over to."`
	Recipe      string                 `yaml:"recipe" doc:"The recipe that is active at the first start; later the last that was chosen. Empty: the first."`
	Preload     []string               `yaml:"preload" example:"[cap-blue, cap-red]" doc:"Recipes that are kept loaded, so that a changeover takes no time."`
	Confidence  float64                `yaml:"confidence" example:"0.25" doc:"Score from which a detection starts a part, between 0 and 1; weaker ones only keep it. Left out: 0.5. What rejects is the rule's to say."`
	MMPerPixel  float64                `yaml:"mm_per_px" example:"0.05" doc:"How many mm of the part's surface a pixel of the station's pictures shows. Told, areas are given in mm² too; it holds for parts at one distance, seen straight on. 0: unknown."`
	Deadline    time.Duration          `yaml:"deadline" doc:"How long after the decision about a part, or after its trigger, its verdict must be on disk and told, 1ms to 1m. What isn't recorded by then is told as NONE not_recorded."`
	Updates     UpdatePolicy           `yaml:"updates" doc:"When a new bundle may become active; it is always fetched, verified and proved before: auto (at once, between two parts), window (in update_window alone), ask (when an operator approves it on the device's page), download (never by itself: it is kept ready)."`
	Window      Window                 `yaml:"update_window" example:"\"Sat 22:00-04:00, Sun\"" doc:"When updates: window may switch, in the device's local time: times of day as 22:00-04:00, days as Mon or Mon-Fri, or both; several with commas. A window that goes over midnight belongs to the day on which it begins."`
	Unsigned    bool                   `yaml:"allow_unsigned" doc:"Allow model to be a file or a folder, which nobody signed. The station is then shown as unsigned, in red, wherever it is shown."`
	PixelsOut   bool                   `yaml:"allow_pixels_out" doc:"Allow pictures of this station to leave the device for a remote large model (cascade.remote). Without it none does."`
	Unrecorded  Unrecorded             `yaml:"unrecorded" doc:"What is told when a verdict can't be recorded in time: reject (NONE not_recorded) or allow (the verdict all the same, shown as such)."`
}

// UpdatePolicy says when a new bundle may become active.
type UpdatePolicy string

// The values of UpdatePolicy.
const (
	Auto     UpdatePolicy = "auto"     // at once
	InWindow UpdatePolicy = "window"   // in the station's window
	Ask      UpdatePolicy = "ask"      // when an operator approves it
	Download UpdatePolicy = "download" // not by itself
)

// Unrecorded says what a station tells when a verdict can't be recorded.
type Unrecorded string

// The values of Unrecorded.
const (
	Reject Unrecorded = "reject" // NONE not_recorded
	Allow  Unrecorded = "allow"  // the verdict all the same
)

// Default is the configuration before a file is read. It has no stations.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Data:   "/var/lib/sightline",
		Infer:  Infer{Threads: 1, Precision: "float32", EnginesMB: 4000},

		Journal: Journal{LimitMB: 4000},
		Fleet:   Fleet{Report: 10 * time.Second},
		Updates: Updates{Transfer: MQTT},
	}
}

// DefaultStation is a station before its part of a file is read.
func DefaultStation() Station {
	return Station{
		Camera:     DefaultCamera(),
		Deadline:   500 * time.Millisecond,
		Unrecorded: Reject,
		Updates:    Auto,
		Mode:       Continuous, Criticality: "normal", MaxAge: 2 * time.Second, Trigger: defaultTrigger(), Cascade: defaultCascade(),
	}
}

// maxBytes bounds the file's size, since the parser's time grows with the
// square of it; hundreds of stations fit.
const maxBytes = 256 << 10

// maxFaults are told at once.
const maxFaults = 100

// Load reads and checks a file. The error, if any, is a Faults with all that
// is wrong; then the Config, unless it is nil, holds what could be read and is
// only good for finding more faults.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Faults{{File: path, Text: fmt.Sprintf("open the configuration: %v; name one with --config", unwrapPath(err))}}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, Faults{{File: path, Text: fmt.Sprintf("read the configuration: %v", unwrapPath(err))}}
	}
	return Parse(path, text)
}

// Parse checks the text of a file. The path is for messages and for what is
// relative to its folder.
func Parse(path string, text []byte) (*Config, error) {
	c := Default()
	c.file = path
	c.lines = map[string]int{}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if fault, bad := unreadable(text); bad {
		fault.File = path
		return nil, Faults{fault}
	}
	d := decoder{file: path, lines: c.lines}
	d.decode(text, &c)
	v := validator{config: &c, faults: d.faults}
	if !d.broken {
		v.device()
	}
	v.faults.sort()
	if n := len(v.faults); n > maxFaults {
		v.faults = append(v.faults[:maxFaults], Fault{File: path, Text: fmt.Sprintf("and %d more", n-maxFaults)})
	}
	c.Warnings.sort()
	switch {
	case d.broken:
		return nil, v.faults
	case len(v.faults) > 0:
		return &c, v.faults
	}
	return &c, nil
}

// unreadable finds what no YAML parser needs to see.
func unreadable(text []byte) (Fault, bool) {
	line := func(at int) int { return 1 + bytes.Count(text[:at], []byte("\n")) }
	switch {
	case len(text) > maxBytes:
		return Fault{Text: fmt.Sprintf("the file is larger than %d KiB: that is no configuration of one device", maxBytes>>10)}, true
	case !utf8.Valid(text):
		at := 0
		for at < len(text) {
			r, n := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return Fault{Line: line(at), Text: "the file isn't UTF-8 text: save it as UTF-8"}, true
	case bytes.IndexByte(text, 0) >= 0:
		return Fault{Line: line(bytes.IndexByte(text, 0)), Text: "the file holds a zero byte: it is no text"}, true
	}
	for number, depth := 1, 0; len(text) > 0; number++ {
		row, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if depth += nesting(row); depth > maxNesting || openings(row) > maxNesting {
			return Fault{Line: number, Text: fmt.Sprintf("nested deeper than %d levels", maxNesting)}, true
		}
	}
	return Fault{}, false
}

// maxNesting is far more than the configuration has, and far less than what
// makes the parser slow.
const maxNesting = 32

// nesting is by how much a line changes the depth of brackets.
func nesting(row []byte) int {
	return openBrackets(row) - bytes.Count(row, []byte("]")) - bytes.Count(row, []byte("}"))
}

func openBrackets(row []byte) int {
	return bytes.Count(row, []byte("[")) + bytes.Count(row, []byte("{"))
}

// openings counts what can open a level within one line.
func openings(row []byte) int {
	indicators := 0
	for _, c := range bytes.Fields(row) {
		if len(c) == 1 && (c[0] == '-' || c[0] == '?') {
			indicators++
		}
	}
	return max(openBrackets(row), indicators)
}

// Fault makes a fault about one setting for what only others can know: a
// model that isn't shipped, a rule that doesn't compile. The key is a path as
// stations[0].model; a key that wasn't set gets the line of what it belongs to.
func (c *Config) Fault(key, text string) Fault {
	return Fault{File: c.file, Line: lineOf(c.lines, key), Key: key, Text: text}
}

// resolve makes a path of the file relative to the working directory.
func (c *Config) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file), path)
}
