package infer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// Environment of a pretended build.
const (
	buildHow   = "SIGHTLINE_TEST_BUILD"   // what becomes of it
	buildLives = "SIGHTLINE_TEST_STARTED" // folder with a file for each process so far
)

// pretendBuild is a worker without TensorRT that tells of a build as one with it
// does; once it is told to go without, it is a real one.
func pretendBuild() {
	conn := shm.NewConn(3)
	var req request
	fds, err := conn.Recv(&req)
	if err != nil {
		os.Exit(1)
	}
	defer shm.CloseAll(fds)
	lives, _ := os.ReadDir(os.Getenv(buildLives))
	f, _ := os.Create(filepath.Join(os.Getenv(buildLives), fmt.Sprint(len(lives))))
	fmt.Fprint(f, req.Load.Without)
	f.Close()
	say := func(r reply) {
		if err := conn.Send(r); err != nil {
			os.Exit(1)
		}
	}
	ready := func() {
		say(reply{Ready: &Info{Digest: "d", Provider: "pretended", Engine: "e"}})
		_, _ = conn.Recv(&req) // until the agent leaves
	}
	switch {
	case req.Load.Without != "":
		ready()
		return
	case req.Load.AtOnce:
		say(reply{Ready: &Info{Digest: "d", Provider: "pretended", Unbuilt: true}})
		_, _ = conn.Recv(&req)
		return
	}
	switch how := os.Getenv(buildHow); {
	case how == "done" && len(lives) == 1:
		ready()
	case how == "done", how == "forgotten":
		say(reply{Engine: &engineReply{Phase: phaseBuild, Usual: 100 * time.Second}})
		say(reply{Engine: &engineReply{Done: true}})
	case how == "changes":
		say(reply{Ready: &Info{Digest: "d", Provider: "pretended", Engine: fmt.Sprint(len(lives))}})
		if len(lives) > 0 {
			_, _ = conn.Recv(&req)
		}
	case how == "done once told" && req.Load.Only && req.Load.Provider == TensorRT:
		say(reply{Engine: &engineReply{Phase: phaseBuild, Usual: 100 * time.Second}})
		for _, err := os.Stat(os.Getenv(buildLives) + "/go"); err != nil; _, err = os.Stat(os.Getenv(buildLives) + "/go") {
			<-time.After(time.Millisecond)
		}
		say(reply{Engine: &engineReply{Done: true}})
	case how == "hold":
		say(reply{Engine: &engineReply{Phase: phaseBuild, Usual: 100 * time.Second}})
		_, _ = conn.Recv(&req)
	case how == "large":
		say(reply{Engine: &engineReply{Loads: true}})
		taken := bytes.Repeat([]byte("x"), 200e6)
		say(reply{Ready: &Info{Digest: "d", Provider: "pretended", Engine: "e"}})
		_, _ = conn.Recv(&req)
		runtime.KeepAlive(taken)
	case how == "refused":
		say(reply{Engine: &engineReply{Phase: phaseBuild}})
		fmt.Fprintln(os.Stderr, "\x1b[1;31mError Code 10: node 7\x1b[m")
		say(reply{Engine: &engineReply{Err: "no kernel"}})
	case how == "dies":
		say(reply{Engine: &engineReply{Phase: phaseBuild}})
		fmt.Fprintln(os.Stderr, "segmentation fault")
		os.Exit(139)
	}
}

func TestBuildIsAProcessOfItsOwn(t *testing.T) {
	for how, want := range map[string]struct {
		lives   int    // processes with auto
		without string // what the last one was told; what is told where TensorRT is named
	}{
		"done":      {2, ""},
		"forgotten": {3, "its engine was built, and isn't there"},
		"refused":   {2, "no kernel: Error Code 10: node 7"},
		"large":     {2, "its process takes "},
		"dies":      {2, "building its engine ended the process: exit status 139: segmentation fault"},
	} {
		for _, provider := range []Provider{Auto, TensorRT} {
			t.Run(how+" "+string(provider), func(t *testing.T) {
				cfg := testConfig(t, "testdata/rows.onnx", Options{})
				lives := t.TempDir()
				cfg.Memory = 150e6
				cfg.Provider, cfg.Env = provider, []string{asWorker + "=builder", buildHow + "=" + how, buildLives + "=" + lives}
				told := make(chan Info, 3)
				cfg.Loaded = func(i Info) { told <- i }
				if provider == TensorRT && want.without != "" {
					if err := New(cfg).Run(within(t, 30*time.Second)); err == nil || !strings.Contains(err.Error(), want.without) {
						t.Errorf("named and not to be had: %v", err)
					}
					return
				}
				w := start(t, cfg)
				info, err := w.Ready(within(t, 30*time.Second))
				if err != nil || info.Engine != "e" || (<-told).Engine != "e" {
					t.Fatalf("ready with %+v, %v", info, err)
				}
				if n := len(files(t, lives)); n != want.lives || w.Stats().Restarts != 0 {
					t.Errorf("%d processes, %d of them counted as started again", n, w.Stats().Restarts)
				}
				if got := last(t, lives); !strings.HasPrefix(got, want.without) || want.without == "" && got != "" {
					t.Errorf("the last one was told %q, want %q", got, want.without)
				}
				if b, ok := w.Building(); ok {
					t.Errorf("it still builds: %v", b)
				}
			})
		}
	}
}

func files(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func last(t *testing.T, dir string) string {
	t.Helper()
	all := files(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, all[len(all)-1].Name()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBuildIsToldWhileItLasts(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	cfg.Env = []string{asWorker + "=builder", buildHow + "=hold", buildLives + "=" + t.TempDir()}
	w := start(t, cfg)
	b := awaitBuilding(t, w, true)
	if got := b.String(); b.Usual != 100*time.Second || !strings.HasPrefix(got, "building engine, ") || !strings.HasSuffix(got, " s, usually about 1 min 40 s") {
		t.Errorf("it says %q", got)
	}
	if _, ok := w.Info(); ok {
		t.Error("it is ready, and builds")
	}
}

// awaitBuilding waits until a worker builds, or doesn't any more.
func awaitBuilding(t *testing.T, w *Worker, want bool) Building {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if b, ok := w.Building(); ok == want {
			return b
		}
	}
	t.Fatalf("building never becomes %v", want)
	return Building{}
}

// Who is to serve at once does so without TensorRT, while its engine is built.
func TestEngineIsBuiltBesideWhoServes(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	lives := t.TempDir()
	cfg.AtOnce, cfg.Env = true, []string{asWorker + "=builder", buildHow + "=done once told", buildLives + "=" + lives}
	w := start(t, cfg)
	info, err := w.Ready(within(t, 30*time.Second))
	if err != nil || !info.Unbuilt {
		t.Fatalf("ready with %+v, %v", info, err)
	}
	if b := awaitBuilding(t, w, true); b.Usual != 100*time.Second {
		t.Errorf("it tells %+v", b)
	}
	if err := os.WriteFile(filepath.Join(lives, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitBuilding(t, w, false)
	if again, ok := w.Info(); !ok || !again.Unbuilt || w.Stats().Restarts != 0 || len(files(t, lives)) != 3 {
		t.Errorf("then it has %+v, %+v", again, w.Stats())
	}
}

// What was proved on one thing doesn't go on with another after a crash, unless nobody
// asks.
func TestWhatComputesStaysTheSame(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	for _, same := range []bool{true, false} {
		told := make(chan Info, 2)
		cfg.Same, cfg.Loaded, cfg.Env = same, func(i Info) { told <- i }, []string{asWorker + "=builder", buildHow + "=changes", buildLives + "=" + t.TempDir()}
		w := New(cfg)
		ctx, stop := context.WithCancel(within(t, 30*time.Second))
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		<-told
		if !same {
			if i := <-told; i.Engine != "1" {
				t.Errorf("then it has %+v", i)
			}
			stop()
		}
		err := <-ended
		stop()
		if (err != nil) != same || err != nil && !strings.Contains(err.Error(), "it would compute on pretended  1, and was proved on pretended  0") {
			t.Errorf("same %v: ended with %v", same, err)
		}
	}
}

// It ends with the worker that it was for.
func TestBuildBesideEndsWithItsWorker(t *testing.T) {
	cfg := testConfig(t, "testdata/rows.onnx", Options{})
	cfg.AtOnce, cfg.Env = true, []string{asWorker + "=builder", buildHow + "=hold", buildLives + "=" + t.TempDir()}
	w := New(cfg)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	awaitBuilding(t, w, true)
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
}

// On a machine that shows a GPU, with providers that don't load, the processor serves
// at once, and the build beside comes to nothing.
func TestServesAtOnceWhereAnEngineIsMissing(t *testing.T) {
	cfg := machine(t, orin, true)
	var log lines
	cfg.AtOnce, cfg.Log = true, slog.New(slog.NewTextHandler(&log, nil))
	w := start(t, cfg)
	info, err := w.Ready(within(t, 60*time.Second))
	if err != nil || !info.Unbuilt || info.Provider != "cpu" || len(info.Passed) != 2 || !strings.HasPrefix(info.Passed[0], "tensorrt: its engine isn't there yet") {
		t.Fatalf("ready with %+v, %v", info, err)
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), "no engine of TensorRT's could be built beside"); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log says %s", log.String())
		}
	}
	if _, ok := w.Info(); !ok {
		t.Error("the worker was disturbed")
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestSpoken(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59900 * time.Millisecond: "59 s", 190 * time.Second: "3 min 10 s", time.Hour + 5*time.Minute + 7*time.Second: "1 h 5 min",
	} {
		if got := spoken(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// A build may be silent for an hour, any other load for ten minutes.
func TestBuildHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(nil, New(Config{}))
		for _, c := range []struct {
			r    engineReply
			want time.Duration
		}{{engineReply{}, loadLimit}, {engineReply{Phase: phaseBuild}, buildLimit}, {engineReply{Phase: phaseWait}, buildLimit}} {
			l.engine, l.hung = c.r, false
			if silent, _ := l.silent(l.progress.Add(c.want - time.Second)); silent {
				t.Errorf("%+v: ended early", c.r)
			}
			if silent, _ := l.silent(l.progress.Add(c.want)); !silent {
				t.Errorf("%+v: goes on for ever", c.r)
			}
		}
	})
}

func TestGuardEndsABuildThatTakesTooMuch(t *testing.T) {
	const machine = "MemTotal:        8000000 kB\nMemFree:  10 kB\nMemAvailable:    %d kB\n"
	for _, c := range []struct {
		left, taken int
		want        string
	}{
		{4000000, 1000000, ""},
		{4000000, 4000001, "more than half"},
		{399999, 1000, "left only"},
		{400001, 1000, ""},
	} {
		got := buildTooLarge(fmt.Appendf(nil, machine, c.left), fmt.Appendf(nil, "Name:\tx\nVmRSS:\t%d kB\n", c.taken))
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := buildTooLarge([]byte("no memory"), nil); got != "" {
		t.Errorf("garbage ends a build: %q", got)
	}
}

// compile makes a shared library; tests that need one are left out without a compiler.
func compile(t *testing.T, path, source string, args ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("left out: ", err)
	}
	c := path + ".c"
	if err := os.WriteFile(c, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, append([]string{"-shared", "-fPIC", "-o", path, c}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A machine as its libraries show it: with a driver that answers so, with the
// provider's libraries, and with what those need, or without.
func machine(t *testing.T, driver string, tensorRT bool) (cfg Config) {
	t.Helper()
	cfg = testConfig(t, "testdata/rows.onnx", Options{})
	real, err := filepath.EvalSymlinks(cfg.Library)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lib := func(name string) string { return filepath.Join(dir, name) }
	compile(t, lib("libnvinfer.so.10"), "int getInferLibVersion(void) { return 100300; }", "-Wl,-soname,libnvinfer.so.10")
	compile(t, lib("libonnxruntime_providers_tensorrt.so"), "int getInferLibVersion(void); int x(void) { return getInferLibVersion(); }", "-L"+dir, "-l:libnvinfer.so.10")
	compile(t, lib("libonnxruntime_providers_cuda.so"), "int y;")
	compile(t, lib(sharedFile), "int z;")
	if !tensorRT {
		if err := os.Remove(lib("libnvinfer.so.10")); err != nil {
			t.Fatal(err)
		}
	}
	if driver != "" {
		compile(t, lib("libcuda.so.1"), driver)
	}
	cfg.Library = lib("libonnxruntime.so.1")
	if err := os.Symlink(real, cfg.Library); err != nil {
		t.Fatal(err)
	}
	cfg.Env, cfg.Engines = append(cfg.Env, "LD_LIBRARY_PATH="+dir), Engines{Dir: filepath.Join(dir, "engines")}
	return cfg
}

const orin = `#include <string.h>
int cuInit(unsigned f) { return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Orin", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : 7; return 0; }
`

// The choice goes by what the libraries and the driver show, and says why.
func TestChoiceByWhatTheMachineHas(t *testing.T) {
	noDevice := strings.Replace(orin, "*n = 1", "*n = 0", 1)
	mismatch := strings.Replace(orin, "int cuInit(unsigned f) { return 0; }",
		"int cuInit(unsigned f) { return 803; }\nint cuGetErrorString(int e, const char **s) { *s = \"system has unsupported display driver / cuda driver combination\"; return 0; }", 1)
	for name, c := range map[string]struct {
		driver   string
		tensorRT bool
		want     [2]string // why TensorRT and CUDA were passed over
	}{
		"no TensorRT, no driver": {"", false, [2]string{"tensorrt: libonnxruntime_providers_tensorrt.so needs libnvinfer.so.10, which the loader doesn't find", "cuda: NVIDIA's driver isn't there"}},
		"no driver":              {"", true, [2]string{"tensorrt: NVIDIA's driver isn't there", "cuda: NVIDIA's driver isn't there"}},
		"no GPU":                 {noDevice, true, [2]string{"tensorrt: NVIDIA's driver sees no GPU", "cuda: NVIDIA's driver sees no GPU"}},
		"unfit driver":           {mismatch, true, [2]string{`tensorrt: NVIDIA's driver says "system has unsupported display driver / cuda driver combination" (error 803)`, "cuda: NVIDIA's driver says"}},
		"strange driver":         {"int z;", true, [2]string{"tensorrt: libcuda.so.1 lacks functions", "cuda: libcuda.so.1 lacks functions"}},
		"unfit provider":         {orin, true, [2]string{"tensorrt: Failed to", "cuda: Failed to"}}, // ONNX Runtime's own words
	} {
		t.Run(name, func(t *testing.T) {
			cfg := machine(t, c.driver, c.tensorRT)
			info, err := start(t, cfg).Ready(within(t, 60*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if info.Provider != "cpu" || len(info.Passed) != 2 || !strings.HasPrefix(info.Passed[0], c.want[0]) || !strings.HasPrefix(info.Passed[1], c.want[1]) {
				t.Errorf("it computes on %s, passed over %q", info.Provider, info.Passed)
			}
		})
	}
}
