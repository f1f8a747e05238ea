package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exposed is how much of the machine a unit may at most be exposed to, as
// systemd-analyze security counts it, from 0 (nothing) to 10.
const exposed = 2.0

var units = []string{"sightline-agent.service", "sightline-fleet.service"}

// analyzer is systemd-analyze, or the test is skipped and says so. Offline
// reviews came with version 250.
func analyzer(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("left out: the units' review; install systemd to have it")
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 {
		t.Fatalf("systemd-analyze says %q of its version", out)
	}
	digits, _, _ := strings.Cut(fields[1], ".")
	if n, err := strconv.Atoi(digits); err != nil || n < 250 {
		t.Skipf("left out: the units' review; systemd is %s, it needs 250", fields[1])
	}
	return path
}

func TestUnitsExposeLittle(t *testing.T) {
	analyze := analyzer(t)
	level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for _, unit := range units {
		threshold := fmt.Sprintf("--threshold=%.0f", exposed*10)
		out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", threshold, installed(t, unit)).CombinedOutput()
		m := level.FindSubmatch(out)
		if m == nil {
			t.Fatalf("%s: %v\n%s", unit, err, out)
		}
		t.Logf("%s: %s", unit, m[1])
		if err != nil {
			t.Errorf("%s is exposed by %s, at most %.1f will do:\n%s", unit, m[1], exposed, out)
		}
	}
}

func TestUnitsAreCorrect(t *testing.T) {
	analyze := analyzer(t)
	for _, unit := range units {
		out, err := exec.Command(analyze, "verify", "--man=no", installed(t, unit)).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, unit) {
				t.Errorf("%s", line)
			}
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// installed is the unit with a program that every machine has, as ours need not be
// installed where they are tested.
func installed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	there := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/sightline-\w+`).ReplaceAll(text, []byte("ExecStart=/bin/true"))
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, there, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// What the programs rely on: they tell how they are and are fed by it, and a
// worker that dies doesn't end them.
func TestUnitsKeepTheirPromises(t *testing.T) {
	for unit, lines := range map[string][]string{
		"sightline-agent.service": {
			"Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "Restart=on-failure", "StartLimitIntervalSec=0",
			"KillMode=mixed", "OOMPolicy=continue", "User=sightline", "DevicePolicy=closed", "NoNewPrivileges=yes",
		},
		"sightline-fleet.service": {
			"Type=notify", "NotifyAccess=main", "WatchdogSec=60s", "Restart=on-failure", "StartLimitIntervalSec=0",
			"User=sightline-fleet", "MemoryDenyWriteExecute=yes", "PrivateDevices=yes", "NoNewPrivileges=yes",
		},
	} {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s doesn't say %s", unit, line)
			}
		}
		if strings.Contains(string(text), "\nReadWritePaths=") || strings.Contains(string(text), "\nSupplementaryGroups=") {
			t.Errorf("%s opens more of the disk, or names groups that a machine may lack", unit)
		}
	}
}
