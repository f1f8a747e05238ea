package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/encoding/protowire"
)

// cmdAnswers: answers URL REGEXP waits until what the URL gives matches.
func cmdAnswers(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: answers URL REGEXP")
	}
	want := regexp.MustCompile(args[1])
	client := &http.Client{Timeout: 2 * time.Second}
	last := ""
	defer func() { ts.Logf("%s: %.2000s", args[0], last) }()
	eventually(ts, "answers "+strings.Join(args, " "), func() bool {
		resp, err := client.Get(args[0])
		if err != nil {
			last = err.Error()
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		last = resp.Status + "\n" + string(b)
		return err == nil && want.MatchString(last)
	})
}

// workers are the processes below the script's agents that are of this kind:
// "infer", "capture", or "" for both.
func workers(ts *testscript.TestScript, kind string) []int {
	var found []int
	for _, cmd := range ts.BackgroundCmds() {
		for _, pid := range children(cmd.Process.Pid) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone ones have none
			args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
			is := "infer"
			if filepath.Base(args[0]) == "sightline-capture" || args[len(args)-1] == "capture" {
				is = "capture"
			}
			if len(line) > 0 && (kind == "" || kind == is) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// children are the processes whose parent is pid. The kernel tells them by
// the thread that started them.
func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	var all []int
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread that has ended has none
		for _, s := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(s); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// cmdKillWorker: killworker infer|capture kills one with -9, and waits until
// another one is there.
func cmdKillWorker(ts *testscript.TestScript, _ bool, args []string) {
	var before []int
	eventually(ts, "a worker to kill", func() bool {
		before = workers(ts, args[0])
		return len(before) > 0
	})
	ts.Check(syscall.Kill(before[0], syscall.SIGKILL))
	killed := time.Now()
	eventually(ts, "another worker", func() bool {
		now := workers(ts, args[0])
		return len(now) > 0 && !slices.Contains(now, before[0])
	})
	if took := time.Since(killed); took > 2*time.Second {
		ts.Fatalf("another %s worker came after %v, want 2s", args[0], took)
	}
}

// cmdNoWorker: noworker save remembers the workers there are; noworker waits
// until none of the remembered is left.
func cmdNoWorker(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 && args[0] == "save" {
		var all []int
		eventually(ts, "workers to remember", func() bool {
			all = workers(ts, "")
			return len(all) > 1
		})
		ts.Setenv("WORKERS", strings.Trim(fmt.Sprint(all), "[]"))
		return
	}
	deadline := time.Now().Add(2 * time.Second)
	for _, s := range strings.Fields(ts.Getenv("WORKERS")) {
		pid, err := strconv.Atoi(s)
		ts.Check(err)
		eventually(ts, "the end of worker "+s, func() bool { return syscall.Kill(pid, 0) != nil })
	}
	if time.Now().After(deadline) {
		ts.Fatalf("workers were left for more than 2s")
	}
}

// cmdWithin: within mark, then within SECONDS: no more time may have passed.
func cmdWithin(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "mark" {
		ts.Setenv("MARK", strconv.FormatInt(time.Now().UnixNano(), 10))
		return
	}
	limit, err := strconv.ParseFloat(args[0], 64)
	ts.Check(err)
	began, err := strconv.ParseInt(ts.Getenv("MARK"), 10, 64)
	ts.Check(err)
	if took := time.Since(time.Unix(0, began)); took.Seconds() > limit {
		ts.Fatalf("it took %v, at most %v s are allowed", took, limit)
	}
}

// Fields of try's JSON Lines. Those that end in ? may be absent.
var (
	partFields    = []string{"kind", "id", "label", "verdict", "reason", "score", "box", "first_frame", "last_frame", "picture?", "regions?"}
	summaryFields = []string{"kind", "frames_captured", "frames_inferred", "frames_dropped", "frames_failed?", "frames_unchanged?", "seconds", "fps",
		"parts", "verdicts", "latency_ms", "model_ms", "cpu_seconds", "cut?"}
	verdictFields  = []string{"PASS", "FAIL", "NONE"}
	quantileFields = []string{"p50", "p99"}
)

// cmdJSONLines: jsonlines FILE PARTS checks try's output: so many parts, then
// the summary, with the fields that are promised and no others.
func cmdJSONLines(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	ids := map[string]bool{}
	for n, line := range lines {
		var o map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&o); err != nil || d.More() {
			ts.Fatalf("line %d is no object: %v: %s", n+1, err, line)
		}
		if n < len(lines)-1 {
			sameFields(ts, o, partFields)
			ids[fmt.Sprint(o["id"])] = true
			if o["kind"] != "part" || len(o["box"].([]any)) != 4 {
				ts.Fatalf("line %d is no part: %s", n+1, line)
			}
			continue
		}
		sameFields(ts, o, summaryFields)
		sameFields(ts, o["verdicts"].(map[string]any), verdictFields)
		sameFields(ts, o["latency_ms"].(map[string]any), quantileFields)
		sameFields(ts, o["model_ms"].(map[string]any), quantileFields)
		if o["kind"] != "summary" || fmt.Sprint(o["parts"]) != args[1] {
			ts.Fatalf("the summary doesn't fit: %s", line)
		}
	}
	if len(lines)-1 != want || len(ids) != want {
		ts.Fatalf("%d parts with %d IDs, want %d", len(lines)-1, len(ids), want)
	}
}

func sameFields(ts *testscript.TestScript, o map[string]any, want []string) {
	var got, all []string
	for k := range o {
		got = append(got, k)
	}
	for _, k := range want {
		name, optional := strings.CutSuffix(k, "?")
		if _, ok := o[name]; ok || !optional {
			all = append(all, name)
		}
	}
	slices.Sort(got)
	slices.Sort(all)
	if diff := cmp.Diff(all, got); diff != "" {
		ts.Fatalf("fields (-want +got):\n%s", diff)
	}
}

// cmdONNX: onnx FILE OPERATOR CHANNELS writes a model of one operator with an
// input of 1×CHANNELS×64×64 and FastestDet's output of two classes (onnx.proto3).
func cmdONNX(ts *testscript.TestScript, _ bool, args []string) {
	channels, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	number := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	tensor := func(name string, dims ...uint64) []byte {
		var shape []byte
		for _, d := range dims {
			shape = field(shape, 1, number(nil, 1, d))
		}
		kind := field(number(nil, 1, 1), 2, shape)
		return field(field(nil, 1, []byte(name)), 2, field(nil, 1, kind))
	}
	node := field(field(field(nil, 1, []byte("images")), 2, []byte("out")), 4, []byte(args[1]))
	graph := field(field(nil, 1, node), 2, []byte("g"))
	graph = field(graph, 11, tensor("images", 1, channels, 64, 64))
	graph = field(graph, 12, tensor("out", 1, 7, 4, 4))
	opset := number(nil, 2, 13)
	model := field(field(number(nil, 1, 8), 7, graph), 8, opset)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Clone(model), 0o644))
}
