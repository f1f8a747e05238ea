package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// validator checks what was decoded, and resolves its paths.
type validator struct {
	config *Config
	faults Faults
}

func (v *validator) fault(key, format string, args ...any) {
	f := v.config.Fault(key, fmt.Sprintf(format, args...))
	for _, known := range v.faults {
		if inside(key, known.Key) {
			return // what couldn't be read needs no second fault
		}
	}
	v.faults = append(v.faults, f)
}

// inside reports whether a key is another one or lies below it.
func inside(key, other string) bool {
	rest, ok := strings.CutPrefix(key, other)
	return ok && other != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (v *validator) warn(key, format string, args ...any) {
	v.config.Warnings = append(v.config.Warnings, v.config.Fault(key, fmt.Sprintf(format, args...)))
}

// set reports whether the file has the key.
func (v *validator) set(key string) bool {
	_, ok := v.config.lines[key]
	return ok
}

func (v *validator) device() {
	c := v.config
	v.listen(c.Listen)
	if c.Data == "" {
		v.fault("data", "must name a folder, got \"\"")
	}
	c.Data = c.resolve(c.Data)
	c.Infer.ONNXRuntime = v.file("infer.onnxruntime", c.Infer.ONNXRuntime)
	if p := c.Infer.Provider; !slices.Contains([]string{"", "auto", "cpu", "cuda", "tensorrt"}, p) {
		v.fault("infer.provider", "must be auto, cpu, cuda or tensorrt, got %s", shown(p))
	}
	v.precision(c.Infer)
	if t := c.Infer.Threads; t < 1 || t > 64 {
		v.fault("infer.threads", "must be 1 to 64, got %d", t)
	}
	if mb := c.Journal.LimitMB; mb != 0 && (mb < 16 || mb > 1e6) {
		v.fault("journal.limit_mb", "must be 16 to 1000000, or 0 for no limit, got %d", mb)
	}
	if d := c.Fleet.Report; d < time.Second || d > 10*time.Minute {
		v.fault("fleet.report", "must be 1s to 10m, got %v", d)
	}
	if t := c.Updates.Transfer; t != MQTT && t != HTTP {
		v.fault("updates.transfer", "must be mqtt or http, got %s", shown(string(t)))
	}
	if n := c.Infer.Parallel; n < 0 || n > 64 {
		v.fault("infer.parallel", "must be 1 to 64, or 0 for the usual, got %d", n)
	}
	if mb := c.Infer.MemoryMB; mb != 0 && (mb < 64 || mb > 1e6) {
		v.fault("infer.memory_mb", "must be 64 to 1000000, or 0 for half of this machine's, got %d", mb)
	}
	if len(c.Stations) == 0 {
		v.fault("stations", "there are none: a device has at least one station, with id, camera and model")
	}
	ids := map[string]int{}
	for i := range c.Stations {
		v.station(i)
		v.unique(i, ids)
	}
	v.cameras()
	v.config.alike()
	v.doors()
}

// alike counts the cameras that look with the same model.
func (c *Config) alike() {
	count := map[string]int{}
	name := func(s *Station) string { return s.Bundle + " " + s.Model }
	for i := range c.Stations {
		count[name(&c.Stations[i])] += len(c.Stations[i].Cameras)
	}
	for i := range c.Stations {
		c.Stations[i].Alike = count[name(&c.Stations[i])]
	}
}

// precision checks in which numbers models are computed, and the room for engines.
func (v *validator) precision(c Infer) {
	switch {
	case c.Precision != "float32" && c.Precision != "float16":
		v.fault("infer.precision", "must be float32 or float16, got %s", shown(c.Precision))
	case c.Precision == "float16" && (c.Provider == "cpu" || c.Provider == "cuda"):
		v.fault("infer.precision", "float16 is TensorRT's alone, and infer.provider is %s: set that to tensorrt or auto, or leave precision out", c.Provider)
	}
	if c.Batch < 0 || c.Batch > 8 {
		v.fault("infer.batch", "must be 0 to 8, got %d", c.Batch)
	}
	if mb := c.EnginesMB; mb < 100 || mb > 1e6 {
		v.fault("infer.engines_mb", "must be 100 to 1000000, got %d", mb)
	}
}

// listen checks the address of the page.
func (v *validator) listen(addr string) {
	const example = "as 127.0.0.1:8080"
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		v.fault("listen", "must be an address and a port, %s, got %s", example, shown(addr))
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		v.fault("listen", "the port must be 0 to 65535, got %s", shown(port))
		return
	}
	if host == "localhost" {
		return
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		v.warn("listen", "%s is every network of this device, and there is no login yet; 127.0.0.1:%s is safe", shown(addr), port)
	case err != nil:
		v.fault("listen", "must be an address in numbers, %s, got %s", example, shown(addr))
	case !ip.IsLoopback():
		v.warn("listen", "%s can be reached from the network, and there is no login yet; 127.0.0.1:%s is safe", shown(addr), port)
	}
}

// identifier is what may stand in addresses and metrics without quoting.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (v *validator) station(i int) {
	s := &v.config.Stations[i]
	key := func(name string) string { return fmt.Sprintf("stations[%d].%s", i, name) }
	switch {
	case s.ID == "":
		v.fault(key("id"), "is missing: a name as station1")
	case !identifier.MatchString(s.ID):
		v.fault(key("id"), "must be letters, digits, dot, dash and underscore, at most 64, got %s", shown(s.ID))
	}
	if strings.IndexFunc(s.Line, unicode.IsControl) >= 0 || len(s.Line) > 64 {
		v.fault(key("line"), "must be a short label on one line, got %s", shown(s.Line))
	}
	v.model(key("model"), s)
	v.updates(key, s)
	v.rule(key("rule"), &s.Rule)
	for label := range s.Labels {
		if label == "" {
			v.fault(key("labels"), "a label has no name")
		}
	}
	if c := s.Confidence; v.set(key("confidence")) && !(c > 0 && c < 1) {
		v.fault(key("confidence"), "must be more than 0 and less than 1, got %v", c)
	}
	if d := s.Deadline; d < time.Millisecond || d > time.Minute {
		v.fault(key("deadline"), "must be 1ms to 1m, got %v", d)
	}
	if mm := s.MMPerPixel; mm != 0 && !(mm >= 1e-6 && mm <= 1000) {
		v.fault(key("mm_per_px"), "must be 0.000001 to 1000, or left out where the scale isn't known, got %v", mm)
	}
	if g := s.ChangeGate; g != 0 && (g < 100*time.Millisecond || g > time.Minute) {
		v.fault(key("change_gate"), "must be 100ms to 1m, or 0 to inspect every picture, got %v", g)
	}
	v.schedule(key, s)
	v.recipes(key, s)
	if s.Small != "" {
		one := Station{Model: s.Small, Unsigned: s.Unsigned}
		v.model(key("small_model"), &one)
		s.Small = one.Model
	}
	v.cascades(key, s)
	if s.Unrecorded != Reject && s.Unrecorded != Allow {
		v.fault(key("unrecorded"), "must be reject or allow, got %s", shown(string(s.Unrecorded)))
	}
}

// source checks a camera's source, and resolves it if it is a path.
func (v *validator) source(key, source string) string {
	if source == "" {
		text := "is missing: rtsp://…, http://…, /dev/video0, aravis:NAME, a video file or a folder of pictures"
		if strings.HasPrefix(key, "stations") {
			text += "; or name a camera of the list cameras"
		}
		v.fault(key, "%s", text)
		return ""
	}
	for _, prefix := range []string{"gst:", "exec:", "aravis:", "/dev/video", "/dev/v4l/"} {
		if strings.HasPrefix(source, prefix) {
			return source // the capture process tells what is wrong with it
		}
	}
	if strings.Contains(source, " ! ") || source == "aravis" {
		return source
	}
	scheme, _, isURL := strings.Cut(source, "://")
	if !isURL {
		return v.file(key, source)
	}
	switch strings.ToLower(scheme) {
	case "rtsp", "rtsps", "http", "https":
	case "file":
		return v.file(key, strings.TrimPrefix(source, scheme+"://"))
	default:
		v.fault(key, "must begin with rtsp://, rtsps://, http:// or https://, or be a file or folder, got %s", shown(source))
		return source
	}
	u, err := url.Parse(source)
	if err != nil {
		// The parser's own text would show the password.
		v.fault(key, "isn't an address (in a password, / is written %%2F and @ %%40), got %s", shown(source))
		return source
	}
	if u.Hostname() == "" {
		v.fault(key, "the address has no host, got %s", shown(source))
	}
	if p, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || p < 1 || p > 65535) {
		v.fault(key, "the port must be 1 to 65535, got %s", shown(source))
	}
	return source
}

// model is a path, which nobody signed, or a name that whoever knows the
// shipped ones checks.
func (v *validator) model(key string, s *Station) {
	switch {
	case s.Model == "" && s.Bundle == "" && len(s.Recipes) > 0: // see recipe
	case s.Model == "" && s.Bundle == "":
		v.fault(key, "is missing: the name of a shipped model, an ONNX file or a bundle's folder; or name the signed bundle that the station follows as bundle")
	case strings.ContainsRune(s.Model, '/') || filepath.Ext(s.Model) != "":
		given := s.Model
		s.Model = v.file(key, given)
		if !s.Unsigned {
			v.fault(key, "%s", Unsigned(given))
		}
	}
}

// Unsigned is what is wrong with a model that is a file or a folder, where the
// station doesn't allow that.
func Unsigned(model string) string {
	return shown(model) + " is a file that nobody signed: to run it all the same, shown in red as unsigned, set allow_unsigned: true; " +
		"to run only what is signed, publish it as a bundle and name that as bundle"
}

// updates checks how the station gets new bundles.
func (v *validator) updates(key func(string) string, s *Station) {
	if s.Bundle != "" && !identifier.MatchString(s.Bundle) {
		v.fault(key("bundle"), "must be letters, digits, dot, dash and underscore, at most 64, got %s", shown(s.Bundle))
	}
	switch s.Updates {
	case Auto, InWindow, Ask, Download:
	default:
		v.fault(key("updates"), "must be auto, window, ask or download, got %s", shown(string(s.Updates)))
	}
	_, err := s.Window.spans()
	switch {
	case err != nil:
		v.fault(key("update_window"), "%v", err)
	case s.Updates == InWindow && s.Window == "":
		v.fault(key("update_window"), "is missing: updates: window needs to know when, as \"22:00-04:00\" or \"Sat 22:00-04:00, Sun\"")
	case s.Updates != InWindow && s.Window != "":
		v.warn(key("update_window"), "has no effect: updates is %s, and only window looks at it", s.Updates)
	}
	if !s.Follows() && v.set(key("updates")) {
		v.warn(key("updates"), "has no effect: the station follows no bundle; name one as bundle")
	}
}

// rule is a .wasm file, or a standard rule whose parameters are checked by
// whoever knows the rules.
func (v *validator) rule(key string, rule *string) {
	if strings.HasSuffix(*rule, ".wasm") {
		*rule = v.file(key, *rule)
	}
}

// file resolves a path and checks that something is there. "" stays.
func (v *validator) file(key, path string) string {
	if path == "" {
		return ""
	}
	full := v.config.resolve(path)
	_, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && full != path:
		v.fault(key, "no such file or folder: %s (looked for %s)", shown(path), full)
	case errors.Is(err, fs.ErrNotExist):
		v.fault(key, "no such file or folder: %s", shown(path))
	case err != nil:
		v.fault(key, "%v: %s", unwrapPath(err), shown(path))
	}
	return full
}

// unique tells of a station's name that an earlier one has already.
func (v *validator) unique(i int, ids map[string]int) {
	s := &v.config.Stations[i]
	at := func(n int, name string) int { return lineOf(v.config.lines, fmt.Sprintf("stations[%d].%s", n, name)) }
	if n, twice := ids[s.ID]; twice && s.ID != "" {
		v.fault(fmt.Sprintf("stations[%d].id", i), "%s is also the name of the station at line %d: give each its own", shown(s.ID), at(n, "id"))
	} else {
		ids[s.ID] = i
	}
}

// sameSource makes two spellings of one source equal: the case of scheme and
// host, credentials and a default port don't make another camera.
func sameSource(s string) string {
	switch {
	case s == "":
		return ""
	case s == "aravis":
		return "aravis:"
	case strings.HasPrefix(s, "/dev/"):
		if to, err := filepath.EvalSymlinks(s); err == nil { // as /dev/v4l/by-id has them
			return to
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return filepath.Clean(s)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "rtsp": "554", "rtsps": "322"}[u.Scheme]
	}
	return strings.ToLower(u.Scheme+"://"+net.JoinHostPort(u.Hostname(), port)) + u.Path + "?" + u.RawQuery
}
