// One recording in FFmpeg's libraries, as package capture needs it. See
// film_media.go.
#pragma once

#include <stdint.h>

typedef struct film film;

// What a file says of its pictures.
typedef struct {
	int width, height;
	double rate;    // frames a second, 0 if it isn't told
	double frames;  // how many, 0 if it isn't told; may be an estimate
	int rotate;     // degrees clockwise in which they are to be shown: 0, 90, 180 or 270
	char codec[32];
} film_info;

// A decoded picture.
typedef struct {
	int width, height;
	int64_t at; // ns from the start of the recording; -1 if it isn't told
} film_shot;

// film_open opens a file for reading. Large pictures are decoded by up to so many
// threads. NULL if it holds no video that can be decoded.
film *film_open(const char *path, int threads, film_info *info);

// film_next decodes the next picture: 1, or 0 where the file ends. What can't be
// decoded is passed over, until that is too much: -1.
int film_next(film *f, film_shot *s);

// film_fill writes the picture that film_next gave as BGR, without gaps between rows,
// to memory of at least 3*width*height bytes. It returns 0 if it can't.
int film_fill(film *f, void *to);

// film_close frees everything.
void film_close(film *f);
