package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/board"
)

func to[T any](v T) *T { return &v }

// orin is a reading with everything in it.
func orin() *board.Reading {
	return &board.Reading{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Identity: board.Identity{
			Model: "NVIDIA Jetson Orin Nano Developer Kit", Serial: "1420000000001", OS: "Ubuntu 22.04.5 LTS",
			Kernel: "5.15.148-tegra", Cores: 6, L4T: "36.4.3", JetPack: "6.2",
		},
		Temperatures: []board.Temperature{{Name: "cpu-thermal", Celsius: 51.437}, {Name: "tj-thermal", Celsius: 52.281}},
		Load:         to(1.52), CPU: to(0.2141592), MemoryTotal: to[uint64](7990255616), MemoryAvailable: to[uint64](4303855616),
		GPUs: []board.GPU{{
			Name: "ga10b", Integrated: true, Load: to(0.342), Celsius: to(49.906), Clock: to[uint64](306e6),
			ClockMax: to[uint64](624750000), Throttled: []string{"power cap"},
		}},
		Power: to(6.269952), Rails: []board.Rail{{Name: "VDD_IN", Volts: to(5.024), Amps: to(1.248), Watts: to(6.269952)}},
		Fans:      []board.Fan{{Name: "pwmfan", Drive: to(0.30196)}, {Name: "pwm_tach", RPM: to[uint64](1834)}},
		DiskTotal: to[uint64](249e9), DiskFree: to[uint64](211.2e9), PowerMode: "15W",
		Problems: []board.Problem{{Path: "sys/class/thermal/thermal_zone9/temp", Why: "input/output error"}},
	}
}

func TestBoard(t *testing.T) {
	m, s := filled(t, 1)
	if w := ask(t, s, "GET", "/v1/board"); w.Code != 404 || !strings.Contains(w.Body.String(), "has not been read yet") {
		t.Errorf("before the first reading: %d %s", w.Code, w.Body)
	}
	m.board = orin()
	const want = `{"time":"2026-01-02T03:04:05Z","model":"NVIDIA Jetson Orin Nano Developer Kit","serial":"1420000000001",` +
		`"os":"Ubuntu 22.04.5 LTS","kernel":"5.15.148-tegra","l4t":"36.4.3","jetpack":"6.2","power_mode":"15W","cores":6,` +
		`"cpu_busy":0.214,"load_1m":1.52,"memory_total_bytes":7990255616,"memory_available_bytes":4303855616,` +
		`"temperatures":[{"name":"cpu-thermal","temperature_c":51.437},{"name":"tj-thermal","temperature_c":52.281}],` +
		`"gpus":[{"name":"ga10b","integrated":true,"load":0.342,"temperature_c":49.906,"clock_hz":306000000,"clock_max_hz":624750000,"throttled":["power cap"]}],` +
		`"power_w":6.27,"rails":[{"name":"VDD_IN","voltage_v":5.024,"current_a":1.248,"power_w":6.27}],` +
		`"fans":[{"name":"pwmfan","drive":0.302},{"name":"pwm_tach","speed_rpm":1834}],` +
		`"disk_total_bytes":249000000000,"disk_free_bytes":211200000000,` +
		`"unread":[{"path":"sys/class/thermal/thermal_zone9/temp","why":"input/output error"}]}` + "\n"
	if d := cmp.Diff(want, ask(t, s, "GET", "/v1/board").Body.String()); d != "" {
		t.Error(d)
	}
}

// Absent is absent, never 0: neither in JSON nor on the page.
func TestWhatTheBoardDoesntTellIsAbsent(t *testing.T) {
	m, s := filled(t, 1)
	if got := text(ask(t, s, "GET", "/")); strings.Contains(got, "Board") {
		t.Errorf("a page of a board that isn't read shows one: %s", got)
	}
	m.board = &board.Reading{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if got := ask(t, s, "GET", "/v1/board").Body.String(); got != `{"time":"2026-01-02T03:04:05Z"}`+"\n" {
		t.Errorf("a reading of nothing: %s", got)
	}
	if got := text(ask(t, s, "GET", "/")); strings.Contains(got, "Board") {
		t.Errorf("a page without anything to show shows a board: %s", got)
	}
	m.board = &board.Reading{Load: to(0.0), GPUs: []board.GPU{{Name: "NVIDIA RTX A2000"}}}
	got := text(ask(t, s, "GET", "/"))
	if !strings.Contains(got, "Processor load 0.00 GPU NVIDIA RTX A2000") || strings.Contains(got, "Memory") || strings.Contains(got, "Disk") {
		t.Errorf("a page of little: %s", got)
	}
}

func TestPageShowsTheBoard(t *testing.T) {
	m, s := filled(t, 1)
	m.board = orin()
	want := "Board NVIDIA Jetson Orin Nano Developer Kit Processor 21 % busy load 1.52 · 6 cores Memory 3.7 GB of 8.0 GB used " +
		"GPU 34 % busy 50 °C · 306 MHz · power cap · ga10b Hottest 52 °C at tj-thermal Power 6.3 W mode 15W " +
		"Fan 1,834 rpm, 30 % drive Disk 211 GB free of 249 GB System Ubuntu 22.04.5 LTS JetPack 6.2, Jetson Linux 36.4.3"
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, want) {
		t.Errorf("the page doesn't say\n%s\nbut\n%s", want, got)
	}
	m.add("station2")
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, want) {
		t.Errorf("the page of several stations doesn't say it: %s", got)
	}
}

// What firmware and drivers call things is text, never markup.
func TestHostileBoardNames(t *testing.T) {
	m, s := filled(t, 1)
	m.board = orin()
	m.board.Identity.Model, m.board.GPUs[0].Name = `<script>alert(1)</script>`, `"><img src=x>`
	if b := ask(t, s, "GET", "/").Body.String(); strings.Contains(b, "<script>a") || strings.Contains(b, "<img src=x") {
		t.Error("a name got into the page as markup")
	}
	if !json.Valid(ask(t, s, "GET", "/v1/board").Body.Bytes()) {
		t.Error("no JSON any more")
	}
}

func TestSizesAreRead(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 MB", 4_200_000: "4 MB", 999_400_000: "999 MB", 999_600_000: "1.0 GB", 7_990_255_616: "8.0 GB", 9_960_000_000: "10 GB",
		249e9: "249 GB", 999_600_000_000: "1.0 TB", 12e12: "12 TB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}

func TestBoardInABrowser(t *testing.T) {
	m, s := line(t, "station1")
	m.board = orin()
	b := browser(t)
	url := serve(t, s).URL
	const shown = `document.querySelectorAll("#board .facts dt").length === 8`
	for _, v := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"board-light", 1280, 1180, "light"}, {"board-dark", 1280, 1180, "dark"}, {"board-phone", 390, 2000, "light"}} {
		b.window(v.width, v.height, v.scheme)
		b.open(url + "/")
		b.shows(drawn, loaded, noScroll, shown)
		b.shoot(v.name)
	}
	hot := orin()
	hot.Temperatures[1].Celsius = 88.9
	m.mu.Lock()
	m.board = hot
	m.mu.Unlock()
	b.shows(`document.getElementById("board").textContent.includes("89 °C")`) // by itself
}
