package agent

import (
	"context"
	"io/fs"
	"log/slog"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

func kernel(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

var jetson = map[string]string{
	"proc/device-tree/model": "NVIDIA Jetson Orin NX\x00", "proc/device-tree/serial-number": "142\x00",
	"proc/sys/kernel/osrelease": "5.15.148-tegra", "proc/sys/kernel/hostname": "station7",
	"proc/loadavg": "0.50 0.4 0.3 1/2 3", "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 400 kB\n",
	"proc/stat":                             "cpu 1 2 3 4\ncpu0 1 2 3 4\ncpu1 1 2 3 4\n",
	"etc/os-release":                        "PRETTY_NAME=Ubuntu",
	"etc/nv_tegra_release":                  "# R36 (release), REVISION: 4.3, GCID: 1",
	"sys/class/thermal/thermal_zone0/type":  "gpu-thermal",
	"sys/class/thermal/thermal_zone0/temp":  "41500",
	"sys/class/devfreq/1.gpu/device/load":   "250",
	"sys/class/devfreq/1.gpu/cur_freq":      "306000000",
	"sys/class/hwmon/hwmon0/name":           "ina3221",
	"sys/class/hwmon/hwmon0/in1_label":      "VDD_IN",
	"sys/class/hwmon/hwmon0/in1_input":      "5000",
	"sys/class/hwmon/hwmon0/curr1_input":    "1000",
	"sys/class/thermal/thermal_zone1/type":  "off",
	"sys/class/thermal/thermal_zone1/temp":  "-256000",
	"sys/class/devfreq/9.nvenc/device/load": "1",
}

// onBoard is an agent without stations on a machine that shows root.
func onBoard(t *testing.T, root fs.FS) *Agent {
	t.Helper()
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	cfg := Config{Journal: j, Log: slog.New(slog.DiscardHandler), Version: "1.2.3", Stay: true}
	if root != nil {
		cfg.Board = board.New(board.Config{Root: root})
	}
	return New(cfg)
}

func TestBoardForTheFleet(t *testing.T) {
	a := onBoard(t, kernel(jetson))
	if a.Board() != nil || a.Now().Board != nil {
		t.Error("a board that wasn't read is told")
	}
	a.sample()
	want := &wire.Board{
		Temperatures: []*wire.Reading{{Name: "gpu-thermal", Value: 41.5}},
		Load:         proto.Float32(0.5), MemoryTotal: proto.Uint64(1024000), MemoryAvailable: proto.Uint64(409600),
		Gpus: []*wire.GPU{{Name: "gpu", Load: proto.Float32(0.25), Temperature: proto.Float32(41.5), Clock: proto.Uint64(306e6)}},
	}
	if d := cmp.Diff(want, a.Board(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if r := a.Now().Board; r == nil || r.Power == nil || *r.Power != 5 {
		t.Errorf("the page is told %+v", r)
	}
}

// The uplink wants the inventory before the agent runs.
func TestInventory(t *testing.T) {
	want := &wire.Inventory{
		Version: "1.2.3", Os: "Ubuntu", Kernel: "5.15.148-tegra", Arch: runtime.GOARCH, Model: "NVIDIA Jetson Orin NX", Serial: "142",
		Jetpack: "6.2", Hostname: "station7", Cores: 2, MemoryBytes: 1024000, Gpus: []string{"gpu"},
	}
	if d := cmp.Diff(want, onBoard(t, kernel(jetson)).Inventory(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	bare := &wire.Inventory{Version: "1.2.3", Arch: runtime.GOARCH, Cores: uint32(runtime.NumCPU())}
	for name, a := range map[string]*Agent{"a machine that shows nothing": onBoard(t, fstest.MapFS{}), "a board that isn't read": onBoard(t, nil)} {
		if d := cmp.Diff(bare, a.Inventory(), protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestBoardIsReadWhileTheAgentRuns(t *testing.T) {
	a := onBoard(t, kernel(jetson))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); a.Board() == nil && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	if a.Board() == nil {
		t.Error("the board isn't read")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
