package bundle

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// change builds the archive of tiny with one thing wrong; the list of sums
// stays as it was.
func change(t *testing.T, f func(all []entry) []entry) []byte {
	t.Helper()
	return compress(t, rawTar(f(entriesOf(t, tiny()))))
}

// find gives the entry of a path.
func find(all []entry, path string) *entry {
	return &all[slices.IndexFunc(all, func(e entry) bool { return e.path == path })]
}

// asKind turns the model into an entry of another kind of tar's.
func asKind(t *testing.T, kind byte, target string) []byte {
	return change(t, func(all []entry) []entry {
		e := find(all, "model.onnx")
		e.edit = func(h *[block]byte) {
			h[156] = kind
			copy(h[157:257], target)
		}
		return all
	})
}

func TestSymlink(t *testing.T) {
	refused(t, asKind(t, '2', "/etc/passwd"), Limits{}, `"model.onnx" is a symbolic link`)
}

func TestHardLink(t *testing.T) {
	refused(t, asKind(t, '1', "manifest.yaml"), Limits{}, `"model.onnx" is a hard link`)
}

func TestDevices(t *testing.T) {
	for kind, want := range map[byte]string{'3': "a character device", '4': "a block device", '5': "a folder", '6': "a named pipe", '7': "a reserved file"} {
		refused(t, asKind(t, kind, ""), Limits{}, want)
	}
}

func TestSparseFile(t *testing.T) { refused(t, asKind(t, 'S', ""), Limits{}, "a sparse file") }

func TestExtendedHeader(t *testing.T) {
	for kind, want := range map[byte]string{'x': "an extended header", 'g': "a global extended header", 'L': "a long name of GNU tar"} {
		refused(t, asKind(t, kind, ""), Limits{}, want)
	}
}

// TestOddHeaders: fields that tar would follow and that no bundle has.
func TestOddHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(h *[block]byte)
		want string
	}{
		"set-uid":         {func(h *[block]byte) { copy(h[100:], "0004755\x00") }, "isn't the one of a bundle"},
		"owner":           {func(h *[block]byte) { copy(h[108:], "0001750\x00") }, "isn't the one of a bundle"},
		"owner's name":    {func(h *[block]byte) { copy(h[265:], "root") }, "isn't the one of a bundle"},
		"time":            {func(h *[block]byte) { copy(h[136:], "14651240000\x00") }, "isn't the one of a bundle"},
		"old kind":        {func(h *[block]byte) { h[156] = 0 }, "isn't the one of a bundle"},
		"hidden name":     {func(h *[block]byte) { copy(h[11:], "../../x") }, "isn't the one of a bundle"},
		"prefix":          {func(h *[block]byte) { copy(h[345:], "/etc") }, `"/etc/model.onnx" stands where model.onnx is expected`},
		"binary size":     {func(h *[block]byte) { h[124] = 0x80 }, "the size of model.onnx can't be read"},
		"negative size":   {func(h *[block]byte) { copy(h[124:], "-0000000001\x00") }, "the size of model.onnx can't be read"},
		"enormous size":   {func(h *[block]byte) { copy(h[124:], "77777777777\x00") }, "more than may still be unpacked"},
		"size beyond end": {func(h *[block]byte) { copy(h[124:], "00000100000\x00") }, "it ends too early, in model.onnx"},
		"GNU":             {func(h *[block]byte) { copy(h[257:], "ustar  \x00") }, "isn't the one of a bundle"},
		"no tar":          {func(h *[block]byte) { copy(h[257:], "zustar") }, "no tar header"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, change(t, func(all []entry) []entry { find(all, "model.onnx").edit = c.edit; return all }), Limits{}, c.want)
		})
	}
	wrong := rawTar(entriesOf(t, tiny()))
	wrong[148] ^= 1
	refused(t, compress(t, wrong), Limits{}, "isn't the one of a bundle")
}

func TestPathTraversal(t *testing.T) {
	for _, p := range []string{
		"../evil", "a/../../evil", "/etc/cron.d/evil", "a//evil", "a/", "./evil", ".", "..", "a/./evil",
		`a\evil`, `..\evil`, "C:evil", "a\x00b", "a b", "a\tb", "évil", "\xff\xfe", ".hidden", "a/.git/config", "-rf",
		strings.Repeat("a", 101), strings.Repeat("abcd/", 31) + "abcdef", strings.Repeat("d/", 8) + "deep",
		strings.Repeat("a", 80) + "/" + strings.Repeat("b", 80) + "/c", strings.Repeat("long/", 60) + "x",
	} {
		all := entriesOf(t, tiny())
		all[0].data = append(bytes.Repeat([]byte("0"), 64), []byte("  "+p+"\n")...)
		refused(t, compress(t, rawTar(all)), Limits{}, "is not a path inside the bundle")
	}
}

// TestCaseCollision: on some file systems the second would overwrite the first.
func TestCaseCollision(t *testing.T) {
	for extra, want := range map[string]string{
		"Manifest.yaml": "differ in case alone", "Golden/two.png": "folders that differ in case alone",
		"sha256sums": "only the list of sums itself", "golden": "is a file and a folder", "model.onnx/x": "is a file and a folder",
		"MODEL.ONNX/x": "is a file and a folder",
	} {
		all := append(entriesOf(t, tiny()), entry{path: extra, data: []byte("evil")})
		slices.SortFunc(all[1:], func(a, b entry) int { return strings.Compare(a.path, b.path) })
		refused(t, compress(t, rawTar(resum(all))), Limits{}, want)
	}
}

func TestDuplicate(t *testing.T) {
	twice := func(all []entry) []entry { return slices.Insert(all, 2, all[1]) }
	refused(t, change(t, twice), Limits{}, "stands where")
	refused(t, change(t, func(all []entry) []entry { return resum(twice(all)) }), Limits{}, "the same file twice")
	refused(t, change(t, func(all []entry) []entry { return slices.Insert(all, 1, all[0]) }), Limits{}, `"SHA256SUMS" stands where`)
}

func TestUnlistedFile(t *testing.T) {
	refused(t, change(t, func(all []entry) []entry {
		return append(all, entry{path: "zz.sh", data: []byte("evil")})
	}), Limits{}, "no file of SHA256SUMS is left")
}

func TestMissingFile(t *testing.T) {
	refused(t, change(t, func(all []entry) []entry { return all[:len(all)-1] }), Limits{}, "model.onnx is missing")
	refused(t, change(t, func(all []entry) []entry { return slices.Delete(all, 2, 3) }), Limits{}, "stands where")
	refused(t, change(t, func(all []entry) []entry { return all[1:] }), Limits{}, "stands where SHA256SUMS is expected")
	refused(t, change(t, func(all []entry) []entry { return nil }), Limits{}, "SHA256SUMS is missing")
}

func TestWrongOrder(t *testing.T) {
	swap := func(all []entry) []entry { all[1], all[2] = all[2], all[1]; return all }
	refused(t, change(t, swap), Limits{}, "in its order")
	refused(t, change(t, func(all []entry) []entry { return resum(swap(all)) }), Limits{}, "must be sorted")
	refused(t, change(t, func(all []entry) []entry { all[0], all[1] = all[1], all[0]; return all }), Limits{}, "stands where SHA256SUMS is expected")
}

func TestWrongHash(t *testing.T) {
	refused(t, change(t, func(all []entry) []entry {
		find(all, "model.onnx").data = []byte("b model, if one doesn't look closely")
		return all
	}), Limits{}, "model.onnx has the SHA-256")
	// With the list made to fit, the manifest still names the other model.
	refused(t, change(t, func(all []entry) []entry {
		find(all, "model.onnx").data = []byte("b model, if one doesn't look closely")
		return resum(all)
	}), Limits{}, "model.sha256")
}

func TestBadSums(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(b []byte) []byte
		want string
	}{
		"no end":     {func(b []byte) []byte { return b[:len(b)-1] }, "last line has no end"},
		"capitals":   {func(b []byte) []byte { return append(bytes.ToUpper(b[:64]), b[64:]...) }, "lower case"},
		"not hex":    {func(b []byte) []byte { b[3] = 'g'; return b }, "in hex"},
		"binary":     {func(b []byte) []byte { b[65] = '*'; return b }, "two spaces"},
		"CRLF":       {func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }, "not a path inside the bundle"},
		"empty line": {func(b []byte) []byte { return append(b, '\n') }, "two spaces"},
		"empty":      {func(b []byte) []byte { return nil }, "no file of SHA256SUMS is left"},
		"huge":       {func(b []byte) []byte { return make([]byte, maxSums+1) }, "SHA256SUMS has 1048577 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, change(t, func(all []entry) []entry { all[0].data = c.edit(all[0].data); return all }), Limits{}, c.want)
		})
	}
}

// TestHalfABundle: what the manifest names must be there, and be readable.
func TestHalfABundle(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(fsys fstest.MapFS)
		want string
	}{
		"no manifest":      {func(f fstest.MapFS) { delete(f, ManifestFile) }, "has no manifest.yaml"},
		"bad manifest":     {func(f fstest.MapFS) { f[ManifestFile].Data = []byte("manifest: 9") }, "manifest: 9 is not a version"},
		"huge manifest":    {func(f fstest.MapFS) { f[ManifestFile].Data = make([]byte, maxManifest+1) }, "at most 262144 are possible"},
		"no model":         {func(f fstest.MapFS) { delete(f, "model.onnx") }, "model.file: model.onnx is not in the bundle"},
		"no card":          {func(f fstest.MapFS) { delete(f, "MODEL_CARD.md") }, "card: MODEL_CARD.md is not in the bundle"},
		"no golden":        {func(f fstest.MapFS) { delete(f, GoldenFile) }, "golden: golden/expected.json is not in the bundle"},
		"bad golden":       {func(f fstest.MapFS) { f[GoldenFile].Data = []byte("{}") }, "golden: 0 is not a version"},
		"no golden's file": {func(f fstest.MapFS) { delete(f, "golden/one.png") }, "vectors[0]: golden/one.png is not in the bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := tiny()
			c.edit(fsys)
			refused(t, compress(t, rawTar(entriesOf(t, fsys))), Limits{}, c.want)
			if _, err := Pack(fsys, &bytes.Buffer{}); err == nil {
				t.Error("it was packed")
			}
		})
	}
}
