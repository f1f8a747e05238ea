package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// links are the messages as they were published.
func links() map[string]proto.Message {
	return map[string]proto.Message{
		"hello.v1": &Hello{Protocol: Protocol, Connection: 1 << 60, Epoch: 1 << 59, First: 3, Last: 99, Inventory: &Inventory{
			Version: "1.0", Os: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0", Arch: "arm64", Model: "Jetson Orin Nano", Serial: "142",
			Jetpack: "6.0", Hostname: "edge-7", Cores: 6, MemoryBytes: 8 << 30, Gpus: []string{"Orin"}}},
		"ack.v1":     &Ack{Epoch: 1 << 59, Watermark: 1 << 33, Connection: 1 << 60},
		"refusal.v1": &Refusal{Code: Refusal_CODE_UNAVAILABLE, Text: "the disk is full", RetryMs: 5000},
		"life.v1":    &Life{Connection: 1 << 60, Online: true, AgeMs: 1234},
		"state.v1": &State{Connection: 1 << 60, AgeMs: 99, EveryMs: 10000, Clock: first.UnixNano() + 789, UptimeMs: 77,
			Stations: []*StationState{{Id: "st1", Line: "A", State: "inspecting", Text: "", Model: "parts", ModelVersion: "3", ModelDigest: "ab12",
				Rule: "threshold:defect>0.5", Pass: 10, Fail: 2, None: 1, Frames: 1000, Inferred: 990, Rate: 29.5}},
			Warnings: []*Warning{{Code: "camera_silent", Severity: 3, Subject: "st1", Text: "no pictures", Act: "check the cable", Since: first.UnixNano() + 789}},
			Journal:  &JournalState{Epoch: 1 << 59, Last: 99, Acknowledged: 98, Bytes: 1 << 20, Dropped: 5},
			Board: &Board{Temperatures: []*Reading{{Name: "CPU-therm", Value: 51.5}}, Load: proto.Float32(1.5), Cpu: proto.Float32(0),
				MemoryTotal: proto.Uint64(8 << 30), MemoryAvailable: proto.Uint64(3 << 30), DiskTotal: proto.Uint64(1 << 36), DiskFree: proto.Uint64(1 << 35),
				Gpus: []*GPU{{Name: "Orin", Load: proto.Float32(0.25), Temperature: proto.Float32(48), MemoryTotal: proto.Uint64(1), MemoryUsed: proto.Uint64(0),
					Power: proto.Float32(5.5), Clock: proto.Uint64(625e6)}}}},
		"hole.v1": &Record{Kind: &Record_Hole{Hole: &Hole{First: 1, Last: 1000, Pass: 900, Fail: 80, None: 10, Other: 10, Reason: HoleRetention}}},
	}
}

// TestLinkGoldens: what was published decodes to the same for ever, and is
// still what we write.
func TestLinkGoldens(t *testing.T) {
	for name, want := range links() {
		golden(t, name, want)
	}
}

// golden compares the message with its file.
func golden(t *testing.T, name string, want proto.Message) {
	t.Helper()
	made, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".hex")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		text = []byte(hex.EncodeToString(made) + "\n")
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	published, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got := want.ProtoReflect().New().Interface()
	if err := Unmarshal(published, got); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s decodes to (-want +got):\n%s", name, diff)
	}
	if string(made) != string(published) {
		t.Errorf("%s is now written as\n%x, want\n%x", name, made, published)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	if err := Unmarshal([]byte{0xff}, new(Ack)); err == nil || !strings.Contains(err.Error(), "decode a Ack") {
		t.Errorf("garbage: %v", err)
	}
	if err := Unmarshal(make([]byte, maxMessage+1), new(State)); err == nil || !strings.Contains(err.Error(), "at most 131072") {
		t.Errorf("too long: %v", err)
	}
	if _, err := Marshal(&Refusal{Text: "a\xff"}); err == nil {
		t.Error("a text that is no UTF-8 was encoded")
	}
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&State{Stations: make([]*StationState, maxStations+1)}, "257 stations, at most 256"},
		{&State{Warnings: make([]*Warning, maxWarnings+1)}, "1025 warnings"},
		{&State{Board: &Board{Temperatures: make([]*Reading, maxReadings+1)}}, "257 temperatures"},
		{&State{Board: &Board{Gpus: make([]*GPU, maxGPUs+1)}}, "65 GPUs"},
		{&Hello{Inventory: &Inventory{Gpus: make([]string, maxGPUs+1)}}, "65 GPUs"},
	} {
		b, err := Marshal(c.m)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(b, c.m.ProtoReflect().New().Interface()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes: %v, want %q", len(b), err, c.want)
		}
	}
}

// TestLargeDevice: one with 60 stations, each with a long story, has room.
func TestLargeDevice(t *testing.T) {
	s := links()["state.v1"].(*State)
	for i := range 60 {
		id := fmt.Sprintf("press-line-%d-top-camera", i)
		s.Stations = append(s.Stations, &StationState{Id: id, Line: "press line, hall 4", State: "stalled", Text: strings.Repeat("no pictures since the cable was cut. ", 6),
			Model: "surface-defects-large", ModelVersion: "2026-03-01.4", ModelDigest: strings.Repeat("ab", 32), Rule: "threshold:scratch>0.5,dent>0.7",
			Pass: 1 << 40, Fail: 1 << 40, None: 1 << 40, Frames: 1 << 40, Inferred: 1 << 40, Rate: 30})
		for range 3 {
			s.Warnings = append(s.Warnings, &Warning{Code: "camera_silent", Severity: 3, Subject: id, Since: first.UnixNano(),
				Text: strings.Repeat("no pictures come. ", 6), Act: strings.Repeat("Check the cable and the camera's power. ", 5)})
		}
	}
	b, err := Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(b))
	if err := Unmarshal(b, new(State)); err != nil || len(b) > maxMessage*7/8 {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

func TestTopics(t *testing.T) {
	const device = "d0a1b2c3d4"
	topic := Topic(device, Up, KindEvents)
	if want := "sightline/v1/" + Shard(device) + "/d0a1b2c3d4/up/ev"; topic != want {
		t.Errorf("%q, want %q", topic, want)
	}
	got, way, kind, err := ParseTopic(topic)
	if got != device || way != Up || kind != KindEvents || err != nil {
		t.Errorf("%q %q %q %v", got, way, kind, err)
	}
	shard := Shard(device)
	other := "3f"
	if shard == other {
		other = "3e"
	}
	for _, bad := range []string{
		"", "sightline/v1", topic + "/x", strings.Replace(topic, "v1", "v2", 1), strings.Replace(topic, "/"+shard+"/", "/"+other+"/", 1),
		"sightline/v1/" + Shard("A") + "/A/up/ev", "sightline/v1/" + Shard("a.b") + "/a.b/up/ev", "sightline/v1/" + Shard("") + "//up/ev",
		"sightline/v1/" + Shard("+") + "/+/up/ev",
	} {
		if device, _, _, err := ParseTopic(bad); err == nil {
			t.Errorf("%q is device %q's", bad, device)
		}
	}
	if AllUp(KindState) != "sightline/v1/+/+/up/st" {
		t.Error(AllUp(KindState))
	}
	seen := map[string]bool{}
	for i := range 5000 {
		seen[Shard("device-"+hex.EncodeToString([]byte{byte(i), byte(i >> 8)}))] = true
	}
	if len(seen) != shards {
		t.Errorf("%d shards are used, want %d", len(seen), shards)
	}
}

func TestToken(t *testing.T) {
	want := Token{CA: [32]byte{1, 2, 3}, Secret: [16]byte{4, 5, 6}}
	got, err := ParseToken(" " + want.String() + "\n")
	if got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "sle1-", want.String()[:40], want.String() + "A", "sle2-" + want.String()[5:], "secret-words"} {
		_, err := ParseToken(bad)
		if !errors.Is(err, ErrToken) || bad != "" && strings.Contains(err.Error(), bad) && bad != "sle1-" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
