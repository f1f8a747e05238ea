package picture

import (
	"bytes"
	"encoding/binary"
	"image"

	"golang.org/x/image/webp"
)

// decodeWebP marks lossy pictures by their kind: *image.YCbCr stands for
// JPEG's full-range planes here, which WebP's aren't.
func decodeWebP(r *bytes.Reader) (image.Image, error) {
	m, err := webp.Decode(r)
	if planes, ok := m.(*image.YCbCr); ok && err == nil {
		return &image.NYCbCrA{YCbCr: *planes}, nil
	}
	return m, err
}

// webpEXIF finds the chunk "EXIF".
func webpEXIF(data []byte) []byte {
	for p := 12; p+8 <= len(data); {
		n := int(binary.LittleEndian.Uint32(data[p+4:]))
		if n > len(data)-p-8 {
			return nil
		}
		if body := data[p+8 : p+8+n]; string(data[p:p+4]) == "EXIF" {
			return bytes.TrimPrefix(body, []byte("Exif\x00\x00")) // some writers put JPEG's mark before it
		}
		p += 8 + n + n&1
	}
	return nil
}

// webpToBGR converts a lossy WebP picture, whose YCbCr is BT.601 in studio
// range, with the chroma filter and the fixed-point factors of libwebp.
func webpToBGR(dst []byte, m *image.YCbCr) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch, _, _ := chromaSize(image.YCbCrSubsampleRatio420, w, h)
	u, v := make([]byte, 2*cw), make([]byte, 2*cw)
	for y := range h {
		near := y / 2
		far := min(max(near+(y&1)*2-1, 0), ch-1)
		diamond(u, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw])
		diamond(v, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw])
		ys := m.Y[y*m.YStride:][:w]
		out := dst[y*w*3 : (y+1)*w*3]
		for i, l := range ys {
			yy, cu, cv := int32(l)*19077>>8, int32(u[i]), int32(v[i])
			out[3*i] = byte(clamp((yy + cu*33050>>8 - 17685) >> 6))
			out[3*i+1] = byte(clamp((yy - cu*6419>>8 - cv*13320>>8 + 8708) >> 6))
			out[3*i+2] = byte(clamp((yy + cv*26149>>8 - 14234) >> 6))
		}
	}
}

// diamond doubles a chroma row by the weights 9, 3, 3, 1 of 16, rounded in the
// two steps that libwebp takes.
func diamond(out, near, far []byte) {
	n := len(near)
	edge := func(i int) byte { return byte((3*int(near[i]) + int(far[i]) + 2) >> 2) }
	out[0], out[2*n-1] = edge(0), edge(n-1)
	for i := 1; i < n; i++ {
		n0, n1, f0, f1 := int(near[i-1]), int(near[i]), int(far[i-1]), int(far[i])
		all := n0 + n1 + f0 + f1 + 8
		out[2*i-1] = byte(((all+2*(n1+f0))>>3 + n0) >> 1)
		out[2*i] = byte(((all+2*(n0+f1))>>3 + n1) >> 1)
	}
}
