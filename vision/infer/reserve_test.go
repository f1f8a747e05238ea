package infer

import (
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReserve: the first worker that a reserve fits has its process, the next one and one
// with another library have their own; one that has died meanwhile costs nobody his start.
func TestReserve(t *testing.T) {
	cfg := testConfig(t, realModel(t, "yolox_nano.onnx"), Options{Labels: COCO()})
	cfg.Reserve = NewReserve(cfg)
	pid := func(w *Worker) int {
		t.Helper()
		if _, err := w.Ready(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		if n := w.Stats().Restarts; n != 0 {
			t.Errorf("it was started again %d times", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.pid
	}
	<-cfg.Reserve.begun
	reserved := cfg.Reserve.proc.Pid()
	other := cfg
	other.Env = append(other.Env, "A=B")
	if got := pid(start(t, other)); got == reserved {
		t.Error("a worker with another environment took the process")
	}
	if got := pid(start(t, cfg)); got != reserved {
		t.Errorf("process %d serves, %d was started before", got, reserved)
	}
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(reserved) + "/environ")
	if err != nil || !strings.Contains(string(environment), preloadEnv+"="+cfg.Library) {
		t.Errorf("the process isn't told what to load: %v, %q", err, environment)
	}
	if got := pid(start(t, cfg)); got == reserved {
		t.Error("two workers have one process")
	}

	cfg.Reserve = NewReserve(cfg)
	<-cfg.Reserve.begun
	dead := cfg.Reserve.proc
	dead.Kill()
	<-dead.Done()
	if got := pid(start(t, cfg)); got == dead.Pid() {
		t.Errorf("process %d serves, which had died", got)
	}
}

// TestReserveThatNobodyTakes ends.
func TestReserveThatNobodyTakes(t *testing.T) {
	r := NewReserve(Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library(t), Log: slog.New(slog.DiscardHandler)})
	<-r.begun
	proc := r.proc
	r.Close()
	r.Close()
	if err := syscall.Kill(proc.Pid(), 0); err != syscall.ESRCH || r.take(&r.cfg) != nil {
		t.Errorf("the process is there still: %v", err)
	}
	none := NewReserve(Config{Executable: "/nowhere", Library: "x", Log: slog.New(slog.DiscardHandler)})
	if none.take(&none.cfg) != nil {
		t.Error("a program that isn't there runs")
	}
	none.Close()
}
