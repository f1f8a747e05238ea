package board

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// identity is what the machine is. The device tree's names go before DMI's:
// where both are, as on Jetsons with UEFI, the device tree is the exacter.
func (t *tree) identity() Identity {
	var id Identity
	id.Model = cmpText(t.named("proc/device-tree/model"), t.dmi("sys_vendor", "product_name"))
	id.Serial = cmpText(t.named("proc/device-tree/serial-number"), t.dmi("board_serial"))
	id.OS = t.osRelease()
	id.Kernel = t.named("proc/sys/kernel/osrelease")
	id.Hostname = t.named("proc/sys/kernel/hostname")
	if b, ok := t.file("proc/stat"); ok {
		_, id.Cores, _ = parseStat(b) // what is wrong with it the load tells
	}
	id.L4T = t.l4t()
	id.JetPack = cmpText(t.jetpackPackage(), jetpacks[id.L4T])
	return id
}

func cmpText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Texts that makers leave where a name should be.
var placeholders = []string{
	"to be filled by o.e.m.", "default string", "system manufacturer", "system product name",
	"system serial number", "not specified", "none", "unknown", "n/a", "0", "0000000000000000",
}

// named is a file's text, "" for a maker's placeholder.
func (t *tree) named(name string) string {
	s, _ := t.text(name)
	if slices.Contains(placeholders, strings.ToLower(s)) {
		return ""
	}
	return s
}

// dmi joins fields of the firmware's tables; the serial may be read by root alone.
func (t *tree) dmi(fields ...string) string {
	var words []string
	for _, f := range fields {
		if s := t.named("sys/class/dmi/id/" + f); s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

// osRelease is PRETTY_NAME of os-release(5).
func (t *tree) osRelease() string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if b, ok := t.file(name); ok {
			return parseOSRelease(b)
		}
	}
	return ""
}

func parseOSRelease(b []byte) string {
	for line := range bytes.Lines(b) {
		value, ok := strings.CutPrefix(string(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		return clean([]byte(unescape.Replace(value)))
	}
	return ""
}

var unescape = strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`)

var l4tPattern = regexp.MustCompile(`^# R(\d{1,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3}){0,2})\b`)

// l4t is the version of Jetson Linux, as 36.4.3.
func (t *tree) l4t() string {
	const name = "etc/nv_tegra_release"
	b, ok := t.file(name)
	if !ok {
		return ""
	}
	v, err := parseL4T(b)
	if err != nil {
		t.problem(name, "%v", err)
	}
	return v
}

func parseL4T(b []byte) (string, error) {
	m := l4tPattern.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("names no release: %.40q", b)
	}
	return string(m[1]) + "." + string(m[2]), nil
}

// jetpacks are the JetPack releases that NVIDIA's JetPack archive names for a
// version of Jetson Linux. A version that isn't here has none.
var jetpacks = map[string]string{
	"35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4",
	"36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1",
}

// maxStatus is how much of dpkg's list of packages is read, bytes.
const maxStatus = 64 << 20

// jetpackPackage is the version of the package nvidia-jetpack, if it is
// installed, without its build, as 6.2.1 of 6.2.1+b38.
func (t *tree) jetpackPackage() string {
	const name = "var/lib/dpkg/status"
	f, err := t.fs.Open(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.problem(name, "%v", bare(err))
		}
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 4096), maxText)
	ours, installed, version, read := false, false, "", 0
	for lines.Scan() && read < maxStatus {
		line := lines.Text()
		read += len(line) + 1
		switch key, value, _ := strings.Cut(line, ":"); {
		case line == "" && ours:
			read = maxStatus
		case line == "":
		case key == "Package":
			ours = strings.TrimSpace(value) == "nvidia-jetpack"
		case ours && key == "Status":
			installed = strings.HasSuffix(value, " installed")
		case ours && key == "Version":
			version, _, _ = strings.Cut(strings.TrimSpace(value), "+")
			version, _, _ = strings.Cut(version, "-")
		}
	}
	if err := lines.Err(); err != nil {
		t.problem(name, "%v", bare(err))
	}
	if !installed {
		return ""
	}
	return clean([]byte(version))
}
