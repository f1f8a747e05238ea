package bundle

import (
	"fmt"
	"strings"
)

// Tar pads everything to blocks of so many bytes; two empty ones end it.
const block = 512

// maxTarSize is what the eleven octal digits of a header can tell.
const maxTarSize = 1<<33 - 1

// header is the one header that a file of that path and size has in a bundle:
// a regular file of ustar, mode 0644, owner, group and time 0, no names. So a
// reader needs no understanding of tar: what isn't these very bytes is refused,
// be it a link, a device, a sparse file or an extension.
func header(path string, size int64) (h [block]byte) {
	front, name := "", path
	if len(path) > maxName {
		i := strings.LastIndexByte(path, '/') // CheckPath: both halves fit
		front, name = path[:i], path[i+1:]
	}
	copy(h[0:100], name)
	copy(h[100:108], "0000644\x00")
	copy(h[108:116], "0000000\x00")
	copy(h[116:124], "0000000\x00")
	copy(h[124:136], fmt.Sprintf("%011o\x00", size))
	copy(h[136:148], "00000000000\x00")
	copy(h[148:156], "        ")
	h[156] = '0'
	copy(h[257:265], "ustar\x0000")
	copy(h[329:337], "0000000\x00")
	copy(h[337:345], "0000000\x00")
	copy(h[345:500], front)
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// sizeOf reads the size that a header tells.
func sizeOf(h *[block]byte) (int64, bool) {
	var n int64
	for _, b := range h[124:135] {
		if b < '0' || b > '7' {
			return 0, false
		}
		n = n<<3 | int64(b-'0')
	}
	return n, h[135] == 0
}

// kinds of entries that tar knows and a bundle doesn't, for the message.
var kinds = map[byte]string{
	'1': "a hard link", '2': "a symbolic link", '3': "a character device", '4': "a block device", '5': "a folder",
	'6': "a named pipe", '7': "a reserved file", 'x': "an extended header", 'g': "a global extended header",
	'S': "a sparse file", 'L': "a long name of GNU tar", 'K': "a long link of GNU tar", 'M': "a part of another volume",
}

// checkHeader says what is wrong with a header where that of path is expected.
func checkHeader(h *[block]byte, path string) (size int64, err error) {
	size, ok := sizeOf(h)
	if ok && *h == header(path, size) {
		return size, nil
	}
	name, _, _ := strings.Cut(string(h[:100]), "\x00")
	if front, _, _ := strings.Cut(string(h[345:500]), "\x00"); front != "" {
		name = front + "/" + name
	}
	switch kind, known := kinds[h[156]]; {
	case *h == [block]byte{}:
		return 0, refuse("%s is missing: the archive ends before it", path)
	case string(h[257:262]) != "ustar":
		return 0, refuse("there is no tar header where that of %s is expected", path)
	case known:
		return 0, refuse("%.210q is %s: a bundle holds regular files alone", name, kind)
	case name != path:
		return 0, refuse("%.210q stands where %s is expected: the files must be those of %s, in its order", name, path, SumsFile)
	case !ok:
		return 0, refuse("the size of %s can't be read", path)
	}
	return 0, refuse("the tar header of %s isn't the one of a bundle (mode 0644, owner, group and time 0)", path)
}
