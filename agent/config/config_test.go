package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sightline-edge/sightline/vision"
)

// inFolder makes a folder with a video, a model and a rule the working directory.
func inFolder(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"belt.mp4", "m.onnx", "r.wasm", "other.mp4"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const full = `# a whole configuration
listen: "[::1]:8081"
data: ./data
infer: {onnxruntime: "", threads: 2}
journal: {limit_mb: 64}
fleet: {report: 3s}
updates: {transfer: http}
stations:
  - id: station1
    line: A
    camera: {source: "rtsp://u:p@192.0.2.10/stream", loop: true, realtime: false}
    model: drawn-parts
    family: yolox
    labels: {part: part, scratch: defect, "no": ignored}
    rule: "threshold:defect>0.5"
    confidence: 0.25
    deadline: 120ms
    unrecorded: allow
  - id: 4711
    camera:
      source: belt.mp4
    model: m.onnx
    bundle: caps
    updates: window
    update_window: "Sat 22:00-04:00, Sun"
    allow_unsigned: true
    rule: r.wasm
`

func TestParseReadsEverything(t *testing.T) {
	inFolder(t)
	got, err := Parse("etc/../s.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	checks := DefaultCamera().Checks
	first := Camera{ID: "station1", Source: "rtsp://u:p@192.0.2.10/stream", Loop: true, Checks: checks}
	second := Camera{ID: "4711", Source: "belt.mp4", Realtime: true, Checks: checks}
	schedule := DefaultStation()
	want := &Config{
		Cameras: []Camera{first, second},
		Listen:  "[::1]:8081", Data: "data", Infer: Infer{Precision: "float32", EnginesMB: 4000, Threads: 2}, Journal: Journal{LimitMB: 64}, Fleet: Fleet{Report: 3 * time.Second},
		Updates: Updates{Transfer: HTTP},
		Stations: []Station{{
			ID: "station1", Line: "A",
			Camera:  first,
			Cameras: []string{"station1"}, Alike: 1,
			Model:    "drawn-parts",
			Family:   "yolox",
			Labels:   map[string]vision.Role{"part": vision.PartRole, "scratch": vision.DefectRole, "no": vision.Ignored},
			Rule:     "threshold:defect>0.5",
			Deadline: 120 * time.Millisecond, Confidence: 0.25, Unrecorded: Allow, Updates: Auto,
			Mode: Continuous, Criticality: "normal", MaxAge: schedule.MaxAge, Trigger: schedule.Trigger, Cascade: schedule.Cascade,
		}, {
			ID: "4711", Camera: second, Cameras: []string{"4711"}, Alike: 1,
			Model: "m.onnx", Rule: "r.wasm", Deadline: 500 * time.Millisecond, Unrecorded: Reject,
			Bundle: "caps", Updates: InWindow, Window: "Sat 22:00-04:00, Sun", Unsigned: true,
			Mode: Continuous, Criticality: "normal", MaxAge: schedule.MaxAge, Trigger: schedule.Trigger, Cascade: schedule.Cascade,
		}},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}, Camera{})); d != "" {
		t.Error(d)
	}
	f := got.Fault("stations[1].family", "isn't known")
	if f.Error() != "etc/../s.yaml:19: stations[1].family: isn't known" {
		t.Errorf("a later fault is %q", f.Error())
	}
	if f := got.Fault("stations[0].model", "x"); f.Line != 12 {
		t.Errorf("the model stands in line %d, want 12", f.Line)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	inFolder(t)
	if err := os.MkdirAll("etc/models", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"etc/belt.mp4", "etc/models/m.onnx"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := "data: d\nstations: [{id: a, camera: {source: belt.mp4}, model: models/m.onnx, allow_unsigned: true}]\n"
	if err := os.WriteFile("etc/s.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load("etc/s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Data, c.Stations[0].Camera.Source, c.Stations[0].Model}
	if d := cmp.Diff([]string{"etc/d", "etc/belt.mp4", "etc/models/m.onnx"}, got); d != "" {
		t.Error(d)
	}
}

// station is a good one, to be made bad in one place.
const station = "stations:\n  - id: a\n    camera: {source: belt.mp4}\n    model: drawn-parts\n"

var bad = []struct{ name, text, want string }{
	{"empty", "", "s.yaml:1: stations: there are none: a device has at least one station, with id, camera and model"},
	{"comments only", "# nothing\n", "s.yaml:1: stations: there are none: a device has at least one station, with id, camera and model"},
	{"a word", "hello", `s.yaml:1: the file must hold settings as "key: value", got "hello"`},
	{"a list", "- a\n", `s.yaml:1: the file must hold settings as "key: value", got a list`},
	{"not YAML", "stations: [a\n", "s.yaml:1: not YAML: sequence end token ']' not found"},
	{"two colons", "a: b: c\n", "s.yaml:1: not YAML: mapping value is not allowed in this context"},
	{"tab", "infer:\n\tthreads: 1\n", "s.yaml:2: a tab: YAML is indented with spaces"},
	{"not UTF-8", station + "\n# \xff\n", "s.yaml:6: the file isn't UTF-8 text: save it as UTF-8"},
	{"zero byte", station + "\x00", "s.yaml:5: the file holds a zero byte: it is no text"},
	{"binary", "\x89PNG\r\n", "s.yaml:1: the file isn't UTF-8 text: save it as UTF-8"},
	{"too large", strings.Repeat("# filler\n", 1<<17), "s.yaml: the file is larger than 256 KiB: that is no configuration of one device"},
	{"deep", "a: " + strings.Repeat("[", 33) + strings.Repeat("]", 33), "s.yaml:1: nested deeper than 32 levels"},
	{"deep over lines", strings.Repeat("{a:\n", 33), "s.yaml:33: nested deeper than 32 levels"},
	{"deep lists", strings.Repeat("- ", 40) + "a", "s.yaml:1: nested deeper than 32 levels"},
	{"second document", station + "---\nlisten: x\n", `s.yaml:6: a second document: a configuration is one document, remove the line "---"`},
	{"alias bomb", "a: &a [x, x]\nb: &b [*a, *a]\nlisten: *b\n" + station,
		"s.yaml:1: a: there is no such setting; there are listen, data, infer, journal, fleet, updates, cameras, stations, plc\n" +
			"s.yaml:2: b: there is no such setting; there are listen, data, infer, journal, fleet, updates, cameras, stations, plc\n" +
			"s.yaml:3: listen: anchors (&) and aliases (*) aren't read: write the value out"},
	{"merge", "infer:\n  <<: {threads: 2}\n" + station, "s.yaml:2: infer: merging (<<) isn't read: write the values out"},
	{"tag", "infer: {threads: !!int 3}\n" + station, "s.yaml:1: infer.threads: the tag !!int isn't read: remove it"},
	{"twice", "data: a\ndata: b\n" + station, "s.yaml:2: data: is set a second time, first in line 1: keep one of them"},
	{"near key", "lisen: x\n" + station, "s.yaml:1: lisen: there is no such setting; did you mean listen?"},
	{"near key in capitals", station + "    Deadline: 2s\n", "s.yaml:5: stations[0].Deadline: there is no such setting; did you mean deadline?"},
	{"far key", "infer: {gpu: true}\n" + station, "s.yaml:1: infer.gpu: there is no such setting; there are onnxruntime, provider, precision, engines_mb, threads, parallel, batch, memory_mb"},
	{"unknown precision", "infer: {precision: half}\n" + station, `s.yaml:1: infer.precision: must be float32 or float16, got "half"`},
	{"float16 on the processor", "infer: {precision: float16, provider: cpu}\n" + station, "s.yaml:1: infer.precision: float16 is TensorRT's alone, and infer.provider is cpu: set that to tensorrt or auto, or leave precision out"},
	{"no room for engines", "infer: {engines_mb: 1}\n" + station, "s.yaml:1: infer.engines_mb: must be 100 to 1000000, got 1"},
	{"no value", "data:\n" + station, "s.yaml:1: data: has no value: give one, or remove the line"},
	{"stations no list", "stations: {id: a}\n", "s.yaml:1: stations: must be a list, each entry begun with \"- \", got settings"},
	{"station no mapping", "stations: [a]\n", "s.yaml:1: stations[0]: must hold settings as \"key: value\", got \"a\""},
	{"camera of no list", "stations:\n- id: a\n  camera: belt.mp4\n  model: drawn-parts\n", "s.yaml:3: stations[0].camera: there is no camera \"belt.mp4\": add it to the list cameras, or write its settings here, as {source: …}"},
	{"little memory", "infer: {memory_mb: 63}\n" + station, "s.yaml:1: infer.memory_mb: must be 64 to 1000000, or 0 for half of this machine's, got 63"},
	{"no whole number", "infer: {threads: 1.5}\n" + station, `s.yaml:1: infer.threads: must be a whole number, got "1.5"`},
	{"quoted number", "infer: {threads: \"2\"}\n" + station, `s.yaml:1: infer.threads: must be a whole number, got "2"`},
	{"negative", "infer:\n  threads: -5\n" + station, "s.yaml:2: infer.threads: must be 1 to 64, got -5"},
	{"bool is no text", "data: true\n" + station, `s.yaml:1: data: must be text; put it in quotes, got "true"`},
	{"text is no bool", "stations: [{id: a, camera: {source: belt.mp4, loop: yes}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.loop: must be true or false, got "yes"`},
	{"list is no text", "data: [a]\n" + station, "s.yaml:1: data: must be text; put it in quotes, got a list"},
	{"empty data", "data: \"\"\n" + station, `s.yaml:1: data: must name a folder, got ""`},
	{"no runtime", "infer: {onnxruntime: /nowhere/lib.so}\n" + station, `s.yaml:1: infer.onnxruntime: no such file or folder: "/nowhere/lib.so"`},
	{"port", "listen: 127.0.0.1:80800\n" + station, `s.yaml:1: listen: the port must be 0 to 65535, got "80800"`},
	{"port by name", "listen: 127.0.0.1:http\n" + station, `s.yaml:1: listen: the port must be 0 to 65535, got "http"`},
	{"no port", "listen: 127.0.0.1\n" + station, `s.yaml:1: listen: must be an address and a port, as 127.0.0.1:8080, got "127.0.0.1"`},
	{"host name", "listen: example.org:80\n" + station, `s.yaml:1: listen: must be an address in numbers, as 127.0.0.1:8080, got "example.org:80"`},
	{"nothing in a station", "stations:\n  - {}\n", "s.yaml:2: stations[0].id: is missing: a name as station1\n" +
		"s.yaml:2: stations[0].model: is missing: the name of a shipped model, an ONNX file or a bundle's folder; or name the signed bundle that the station follows as bundle\n" +
		"s.yaml:2: stations[0].camera.source: is missing: rtsp://…, http://…, /dev/video0, aravis:NAME, a video file or a folder of pictures; or name a camera of the list cameras"},
	{"camera without a name", "cameras: [{source: belt.mp4}]\n" + station, "s.yaml:1: cameras[0].id: is missing: a name by which stations say that they use it, as left\n" +
		`s.yaml:4: stations[0].camera.source: "belt.mp4" is also the source of the camera at line 1: put it into the list cameras once, and let the stations name it`},
	{"camera twice", "cameras:\n- {id: a, source: belt.mp4}\n- {id: a, source: other.mp4}\nstations: [{id: s, camera: a, model: drawn-parts}]\n",
		`s.yaml:3: cameras[1].id: "a" is also the name of the camera at line 2: give each its own`},
	{"nearly a camera", "cameras: [{id: left, source: belt.mp4}]\nstations: [{id: s, cameras: [left, lefft], model: drawn-parts}]\n",
		`s.yaml:2: stations[0].cameras[1]: there is no camera "lefft"; did you mean left?`},
	{"camera and cameras", "cameras: [{id: left, source: belt.mp4}]\nstations: [{id: s, camera: left, cameras: [left], model: drawn-parts}]\n",
		`s.yaml:2: stations[0].cameras: camera is set too: keep one of them`},
	{"a camera twice", "cameras: [{id: left, source: belt.mp4}]\nstations: [{id: s, cameras: [left, left], model: drawn-parts}]\n",
		`s.yaml:2: stations[0].cameras: "left" stands there twice`},
	{"no cameras of a station", "stations: [{id: s, cameras: [], model: drawn-parts}, {id: t, cameras: [{source: x}, {source: y}], model: drawn-parts}]\n",
		"s.yaml:1: stations[1].cameras[0]: must be text; put it in quotes, got settings\n" +
			"s.yaml:1: stations[1].cameras[1]: must be text; put it in quotes, got settings\n" +
			"s.yaml:1: stations[0].cameras: is empty: name one of the list cameras, or write the settings of one as camera: {source: …}"},
	{"nothing in a camera", "cameras: [{}]\nstations: [{id: s, camera: a, model: drawn-parts}]\n",
		"s.yaml:1: cameras[0].id: is missing: a name by which stations say that they use it, as left\n" +
			"s.yaml:1: cameras[0].source: is missing: rtsp://…, http://…, /dev/video0, aravis:NAME, a video file or a folder of pictures\n" +
			"s.yaml:2: stations[0].camera: there is no camera \"a\": add it to the list cameras, or write its settings here, as {source: …}"},
	{"camera's name is a station's", "cameras: [{id: a, source: other.mp4}]\n" + station + "  - {id: b, camera: a, model: drawn-parts}\n",
		`s.yaml:3: stations[0].id: "a" is also the name of the camera at line 1: give the station another, or let it use that camera`},
	{"camera's settings", "stations: [{id: s, camera: {source: belt.mp4, size: 4k, roi: [1, 2], checks: {dark: error}, silence: 1ms, memory_mb: 1}, model: drawn-parts}]\n",
		"s.yaml:1: stations[0].camera.size: must be width and height as 1280x720, got \"4k\"\n" +
			"s.yaml:1: stations[0].camera.roi: must be four numbers, x, y, width and height, got 2\n" +
			"s.yaml:1: stations[0].camera.silence: must be 100ms to 10m, or 0 for the usual, got 1ms\n" +
			"s.yaml:1: stations[0].camera.memory_mb: must be 16 to 1048576, or 0 for the usual, got 1\n" +
			"s.yaml:1: stations[0].camera.checks.dark: must be warn, none or off, got \"error\""},
	{"two passwords", "stations: [{id: s, camera: {source: \"rtsp://u:p@h/x\", credentials: belt.mp4}, model: drawn-parts}]\n",
		`s.yaml:1: stations[0].camera.credentials: the address has a user too: keep one of them`},
	{"same industrial camera", "cameras: [{id: a, source: aravis}, {id: b, source: \"aravis:\"}]\nstations: [{id: s, cameras: [a, b], model: drawn-parts}]\n",
		`s.yaml:1: cameras[1].source: "aravis:" is also the source of the camera at line 1: put it into the list cameras once, and let the stations name it`},
	{"change gate", "stations: [{id: s, camera: {source: belt.mp4}, model: drawn-parts, change_gate: 1ms}]\n",
		`s.yaml:1: stations[0].change_gate: must be 100ms to 1m, or 0 to inspect every picture, got 1ms`},
	{"unsigned file", "stations: [{id: a, camera: {source: belt.mp4}, model: ./m.onnx}]", `s.yaml:1: stations[0].model: "./m.onnx" is a file that nobody signed: to run it all the same, shown in red as unsigned, set allow_unsigned: true; to run only what is signed, publish it as a bundle and name that as bundle`},
	{"bad bundle", "stations: [{id: a, camera: {source: belt.mp4}, bundle: ../caps}]", `s.yaml:1: stations[0].bundle: must be letters, digits, dot, dash and underscore, at most 64, got "../caps"`},
	{"bad policy", "stations: [{id: a, camera: {source: belt.mp4}, bundle: caps, updates: never}]", `s.yaml:1: stations[0].updates: must be auto, window, ask or download, got "never"`},
	{"no window", "stations: [{id: a, camera: {source: belt.mp4}, bundle: caps, updates: window}]", `s.yaml:1: stations[0].update_window: is missing: updates: window needs to know when, as "22:00-04:00" or "Sat 22:00-04:00, Sun"`},
	{"bad window", "stations: [{id: a, camera: {source: belt.mp4}, bundle: caps, updates: window, update_window: \"Sat, night\"}]", `s.yaml:1: stations[0].update_window: must be times as 22:00-04:00, days as Sat or Mon-Fri, or both, with commas between several, got "night" in "Sat, night"`},
	{"bad transfer", "updates: {transfer: ftp}\n" + station, `s.yaml:1: updates.transfer: must be mqtt or http, got "ftp"`},
	{"bad id", "stations: [{id: a b, camera: {source: belt.mp4}, model: drawn-parts}]", `s.yaml:1: stations[0].id: must be letters, digits, dot, dash and underscore, at most 64, got "a b"`},
	{"same id", station + "  - id: a\n    camera: {source: other.mp4}\n    model: drawn-parts\n", `s.yaml:5: stations[1].id: "a" is also the name of the station at line 2: give each its own`},
	{"same camera", "stations:\n- {id: a, model: drawn-parts, camera: {source: \"rtsp://Cam:554/x\"}}\n- {id: b, model: drawn-parts, camera: {source: \"rtsp://u:p@cam/x\"}}\n",
		`s.yaml:3: stations[1].camera.source: "rtsp://***@cam/x" is also the source of the camera at line 2: put it into the list cameras once, and let the stations name it`},
	{"same file", station + "  - {id: b, model: drawn-parts, camera: {source: ./belt.mp4}}\n",
		`s.yaml:5: stations[1].camera.source: "belt.mp4" is also the source of the camera at line 3: put it into the list cameras once, and let the stations name it`},
	{"no such file", "stations: [{id: a, camera: {source: none.mp4}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.source: no such file or folder: "none.mp4"`},
	{"no such model", "stations: [{id: a, camera: {source: belt.mp4}, model: models/x, allow_unsigned: true}]", `s.yaml:1: stations[0].model: no such file or folder: "models/x"`},
	{"no such rule", station + "    rule: none.wasm\n", `s.yaml:5: stations[0].rule: no such file or folder: "none.wasm"`},
	{"scheme", "stations: [{id: a, camera: {source: \"rtmp://u:secret@h/x\"}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.source: must begin with rtsp://, rtsps://, http:// or https://, or be a file or folder, got "rtmp://***@h/x"`},
	{"no host", "stations: [{id: a, camera: {source: \"rtsp:///x\"}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.source: the address has no host, got "rtsp:///x"`},
	{"camera port", "stations: [{id: a, camera: {source: \"rtsp://h:70000/x\"}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.source: the port must be 1 to 65535, got "rtsp://h:70000/x"`},
	{"slash in a password", "stations: [{id: a, camera: {source: \"rtsp://u:se/cret@h/x\"}, model: drawn-parts}]", `s.yaml:1: stations[0].camera.source: isn't an address (in a password, / is written %2F and @ %40), got "rtsp://***@h/x"`},
	{"role", station + "    labels:\n      part: part\n      dent: fault\n", `s.yaml:7: stations[0].labels.dent: must be part, defect or ignored, got "fault"`},
	{"roles twice", station + "    labels:\n      part: part\n      part: defect\n", "s.yaml:7: stations[0].labels.part: is set a second time: keep one of them"},
	{"roles as a list", station + "    labels: [part]\n", "s.yaml:5: stations[0].labels: must be labels and their roles, as {part: part, scratch: defect}, got a list"},
	{"confidence", station + "    confidence: 50\n", "s.yaml:5: stations[0].confidence: must be more than 0 and less than 1, got 50"},
	{"confidence zero", station + "    confidence: 0\n", "s.yaml:5: stations[0].confidence: must be more than 0 and less than 1, got 0"},
	{"confidence NaN", station + "    confidence: .nan\n", `s.yaml:5: stations[0].confidence: must be a number, got ".nan"`},
	{"journal limit", "journal: {limit_mb: 3}\n" + station, "s.yaml:1: journal.limit_mb: must be 16 to 1000000, or 0 for no limit, got 3"},
	{"fleet report", "fleet: {report: 10ms}\n" + station, "s.yaml:1: fleet.report: must be 1s to 10m, got 10ms"},
	{"deadline without unit", station + "    deadline: 500\n", `s.yaml:5: stations[0].deadline: must be a time with its unit, as 500ms or 2s, got "500"`},
	{"deadline negative", station + "    deadline: -1s\n", "s.yaml:5: stations[0].deadline: must be 1ms to 1m, got -1s"},
	{"deadline long", station + "    deadline: 2h\n", "s.yaml:5: stations[0].deadline: must be 1ms to 1m, got 2h0m0s"},
	{"unrecorded", station + "    unrecorded: never\n", `s.yaml:5: stations[0].unrecorded: must be reject or allow, got "never"`},
	{"line", station + "    line: \"a\\nb\"\n", `s.yaml:5: stations[0].line: must be a short label on one line, got "a\nb"`},
	{"all at once", "lisen: x\ninfer: {threads: 0}\n" + station + "    deadline: soon\n    unrecorded: 7\n",
		"s.yaml:1: lisen: there is no such setting; did you mean listen?\n" +
			"s.yaml:2: infer.threads: must be 1 to 64, got 0\n" +
			"s.yaml:7: stations[0].deadline: must be a time with its unit, as 500ms or 2s, got \"soon\"\n" +
			"s.yaml:8: stations[0].unrecorded: must be reject or allow, got \"7\""},
}

func TestBadConfigsSayWhatWouldDo(t *testing.T) {
	inFolder(t)
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("s.yaml", []byte(c.text))
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("accepted, want\n%s", c.want)
			}
			if d := cmp.Diff(c.want, err.Error()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	inFolder(t)
	_, err := Load("none.yaml")
	if err == nil || err.Error() != "none.yaml: open the configuration: no such file or directory; name one with --config" {
		t.Errorf("got %v", err)
	}
	_, err = Load(".")
	if err == nil || err.Error() != ".: read the configuration: is a directory" {
		t.Errorf("got %v", err)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	inFolder(t)
	_, err := Parse("s.yaml", []byte(station+strings.Repeat("  - 5\n", 1000)))
	faults := err.(Faults)
	if n := len(faults); n != maxFaults+1 || faults[n-1].Error() != "s.yaml: and 900 more" {
		t.Errorf("%d faults, the last is %q", n, faults[n-1].Error())
	}
}

func TestOpenListenersAreWarnedAbout(t *testing.T) {
	inFolder(t)
	for listen, warned := range map[string]bool{
		"127.0.0.1:8080": false, "127.8.0.1:0": false, "localhost:80": false, `"[::1]:80"`: false,
		"0.0.0.0:8080": true, `":8080"`: true, "192.0.2.1:80": true, `"[::]:80"`: true,
	} {
		c, err := Parse("s.yaml", []byte("listen: "+listen+"\n"+station))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Warnings) == 1; got != warned {
			t.Errorf("listen: %s: warnings %v", listen, c.Warnings)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"belt.mp4":                             "belt.mp4",
		"rtsp://192.0.2.1/x":                   "rtsp://192.0.2.1/x",
		"rtsp://u:p@192.0.2.1/x":               "rtsp://***@192.0.2.1/x",
		"rtsp://u@h/x":                         "rtsp://***@h/x",
		"rtsp://u:p@ss@h:554/x@y":              "rtsp://***@h:554/x@y",
		"rtsp://u:p/ss@h/x":                    "rtsp://***@h/x",
		"http://h:80/a@b":                      "http://h:80/a@b",
		"http://h/s?user=a&pwd=b&x=1":          "http://h/s?user=***&pwd=***&x=1",
		"http://h/s?x=1&TOKEN=abc#f":           "http://h/s?x=1&TOKEN=***#f",
		"dial rtsp://u:p@h/x: connect refused": "dial rtsp://***@h/x: connect refused",
		"user@host without a scheme":           "user@host without a scheme",
		"//u:p@h":                              "//***@h",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	for _, c := range bad {
		if len(c.text) < 4096 {
			f.Add([]byte(c.text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("s.yaml", text)
		if err != nil {
			for _, fault := range err.(Faults) {
				if fault.Text == "" || strings.ContainsAny(fault.Error(), "\x00\n") {
					t.Errorf("fault %q", fault.Error())
				}
			}
			return
		}
		if len(c.Stations) == 0 || c.Stations[0].ID == "" || c.Stations[0].Deadline <= 0 {
			t.Errorf("accepted %+v", c)
		}
	})
}

// Pipelines and devices stay as they are written, also while the device is unplugged.
func TestPipelinesAndDevicesAreSources(t *testing.T) {
	inFolder(t)
	for _, source := range []string{"gst: videotestsrc ! appsink", "v4l2src ! appsink", "/dev/video77"} {
		c, err := Parse("s.yaml", []byte("stations: [{id: a, camera: {source: \""+source+"\"}, model: drawn-parts, rule: r.wasm}]"))
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if got := c.Stations[0].Camera.Source; got != source {
			t.Errorf("%s became %s", source, got)
		}
	}
}
