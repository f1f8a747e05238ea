/*
 * A Sightline rule in C. docs/rule-abi.md has the contract; this header reads
 * the part and writes the answer. A rule defines
 *
 *     void sightline_decide(struct sightline_part *part, struct sightline_answer *answer);
 *
 * and, if it takes parameters,
 *
 *     #define SIGHTLINE_CONFIGURE
 *     // NULL if all is well, else a text for the user, which must stay valid
 *     const char *sightline_configure(const char *text, unsigned length);
 *
 * and includes this header in exactly one file, after that #define. It needs
 * no C library:
 *
 *     clang --target=wasm32 -mbulk-memory -O2 -nostdlib -Wl,--no-entry -o my.wasm my.c
 *
 * Texts have a length and no zero at the end. Whatever points into the part is
 * valid during the call only. A rule keeps nothing from part to part.
 */
#ifndef SIGHTLINE_RULE_H
#define SIGHTLINE_RULE_H

#define SIGHTLINE_VERSION 1
#define SIGHTLINE_MAX_INPUT (1u << 20) /* bytes */
#define SIGHTLINE_MAX_REASON 200       /* bytes of UTF-8 */
#define SIGHTLINE_MAX_NAME 64
#define SIGHTLINE_MAX_UNIT 16
#define SIGHTLINE_MAX_MEASUREMENTS 64

enum sightline_verdict { SIGHTLINE_NONE = 0, SIGHTLINE_PASS = 1, SIGHTLINE_FAIL = 2 };

struct sightline_text {
	const char *at;
	unsigned length; /* bytes */
};

/* In pixels: the top left corner and the size. */
struct sightline_box {
	float x, y, w, h;
};

struct sightline_evidence {
	float score;     /* 0 to 1 */
	unsigned frames; /* how many showed it */
	struct sightline_box box;
	struct sightline_text label;
	unsigned view; /* of what saw it, for sightline_view; 0 without views */
};

/* What one of several cameras contributed. */
struct sightline_view {
	struct sightline_text camera;
	unsigned width, height; /* of its picture, pixels */
};

struct sightline_part {
	unsigned width, height; /* of the picture */
	unsigned frames;        /* that showed the part */
	float score;            /* 0 to 1 */
	struct sightline_box box;
	struct sightline_text label;
	unsigned evidence_count;
	unsigned view_count;                        /* of a part that several cameras saw at once; else 0 */
	const unsigned char *next, *whose, *views; /* for the functions below */
	unsigned taken;                             /* evidence, by sightline_next */
};

/* For the functions below; a rule sets the verdict and nothing else itself. */
struct sightline_answer {
	enum sightline_verdict verdict; /* NONE at the start, which rejects */
	unsigned char reason[SIGHTLINE_MAX_REASON];
	unsigned reason_length;
	unsigned char measurements[SIGHTLINE_MAX_MEASUREMENTS * (16 + 2 + SIGHTLINE_MAX_NAME + 2 + SIGHTLINE_MAX_UNIT)];
	unsigned measurements_length, measurement_count;
};

static inline unsigned sightline_u16(const unsigned char *p) { return p[0] | (unsigned)p[1] << 8; }

static inline unsigned sightline_u32(const unsigned char *p)
{
	return sightline_u16(p) | sightline_u16(p + 2) << 16;
}

static inline float sightline_f32(const unsigned char *p)
{
	float v;
	__builtin_memcpy(&v, p, 4); /* WebAssembly is little-endian, and so is the ABI */
	return v;
}

static inline struct sightline_box sightline_box(const unsigned char *p)
{
	struct sightline_box b = {sightline_f32(p), sightline_f32(p + 4), sightline_f32(p + 8), sightline_f32(p + 12)};
	return b;
}

/* The next evidence of the part: 1 if there was one, 0 at the end. */
static inline int sightline_next(struct sightline_part *part, struct sightline_evidence *e)
{
	const unsigned char *p = part->next;
	if (part->taken == part->evidence_count)
		return 0;
	e->score = sightline_f32(p);
	e->frames = sightline_u32(p + 4);
	e->box = sightline_box(p + 8);
	e->label.at = (const char *)p + 26;
	e->label.length = sightline_u16(p + 24);
	e->view = part->view_count ? sightline_u16(part->whose + 2 * part->taken) : 0;
	part->next = p + 26 + e->label.length;
	part->taken++;
	return 1;
}

/* The view with that index, from 0: 1 if there is one. */
static inline int sightline_view(const struct sightline_part *part, unsigned index, struct sightline_view *v)
{
	const unsigned char *p = part->views;
	if (index >= part->view_count)
		return 0;
	while (index--)
		p += 10 + sightline_u16(p);
	v->camera.at = (const char *)p + 2;
	v->camera.length = sightline_u16(p);
	v->width = sightline_u32(p + 2 + v->camera.length);
	v->height = sightline_u32(p + 6 + v->camera.length);
	return 1;
}

/* Goes past the evidence to the views, of which there are none where nothing
 * follows it: 0 if the part ends in the middle. */
static inline int sightline_find_views(struct sightline_part *part, const unsigned char *end)
{
	const unsigned char *p = part->next;
	unsigned i;
	for (i = 0; i < part->evidence_count; i++) {
		if (end - p < 26 || end - p - 26 < (long)sightline_u16(p + 24))
			return 0;
		p += 26 + sightline_u16(p + 24);
	}
	part->view_count = 0;
	if (p == end)
		return 1;
	if (end - p < 26)
		return 0;
	part->view_count = sightline_u16(p);
	part->views = p += 26;
	for (i = 0; i < part->view_count; i++) {
		if (end - p < 10 || end - p - 10 < (long)sightline_u16(p))
			return 0;
		p += 10 + sightline_u16(p);
	}
	part->whose = p;
	if (part->view_count && end - p < 2 * (long)part->evidence_count)
		return 0;
	for (i = 0; part->view_count && i < part->evidence_count; i++)
		if (sightline_u16(p + 2 * i) >= part->view_count)
			return 0;
	return 1;
}

/* Whether the text is the zero-terminated one. */
static inline int sightline_is(struct sightline_text t, const char *s)
{
	unsigned i;
	for (i = 0; i < t.length; i++)
		if (s[i] == 0 || s[i] != t.at[i])
			return 0;
	return s[i] == 0;
}

/* Adds to the reason, as much as there is room for. It must be UTF-8 without
 * control characters; texts from the part may be anything, so check them or
 * leave them out. */
static inline void sightline_reason(struct sightline_answer *a, const char *s)
{
	unsigned n = 0;
	while (s[n])
		n++;
	if (n > SIGHTLINE_MAX_REASON - a->reason_length)
		return;
	for (unsigned i = 0; i < n; i++)
		a->reason[a->reason_length++] = (unsigned char)s[i];
}

static inline void sightline_put_text(struct sightline_answer *a, const char *s, unsigned limit)
{
	unsigned char *length = a->measurements + a->measurements_length;
	unsigned n = 0;
	for (; n < limit && s[n]; n++)
		length[2 + n] = (unsigned char)s[n];
	length[0] = (unsigned char)n;
	length[1] = 0;
	a->measurements_length += 2 + n;
}

/* Adds a measurement: finite numbers, a name in ASCII, a unit or "". */
static inline void sightline_measure(struct sightline_answer *a, const char *name, double value, double limit, const char *unit)
{
	if (a->measurement_count == SIGHTLINE_MAX_MEASUREMENTS)
		return;
	a->measurement_count++;
	__builtin_memcpy(a->measurements + a->measurements_length, &value, 8);
	__builtin_memcpy(a->measurements + a->measurements_length + 8, &limit, 8);
	a->measurements_length += 16;
	sightline_put_text(a, name, SIGHTLINE_MAX_NAME);
	sightline_put_text(a, unit, SIGHTLINE_MAX_UNIT);
}

void sightline_decide(struct sightline_part *part, struct sightline_answer *answer);

static unsigned char sightline_input[SIGHTLINE_MAX_INPUT];
static unsigned char sightline_output[8192];

__attribute__((export_name("alloc"))) unsigned sightline_alloc(unsigned n)
{
	return n <= 2 * SIGHTLINE_MAX_INPUT ? (unsigned)(__SIZE_TYPE__)sightline_input : 0;
}

__attribute__((export_name("rule"))) unsigned long long sightline_rule(void)
{
	static struct sightline_answer answer;
	struct sightline_part part;
	unsigned char *out = sightline_output;
	const unsigned char *in = sightline_input;
	unsigned size = sightline_u32(in + 4), label = sightline_u16(in + 40);
	if (sightline_u16(in) != SIGHTLINE_VERSION || size > SIGHTLINE_MAX_INPUT || size < 42 + label)
		return 0;
	part.evidence_count = sightline_u16(in + 2);
	part.width = sightline_u32(in + 8);
	part.height = sightline_u32(in + 12);
	part.frames = sightline_u32(in + 16);
	part.score = sightline_f32(in + 20);
	part.box = sightline_box(in + 24);
	part.label.at = (const char *)in + 42;
	part.label.length = label;
	part.next = in + 42 + label;
	part.taken = 0;
	if (!sightline_find_views(&part, in + size))
		return 0;
	answer.verdict = SIGHTLINE_NONE;
	answer.reason_length = answer.measurements_length = answer.measurement_count = 0;
	sightline_decide(&part, &answer);
	*out++ = SIGHTLINE_VERSION;
	*out++ = 0;
	*out++ = (unsigned char)answer.verdict;
	*out++ = (unsigned char)answer.measurement_count;
	*out++ = (unsigned char)answer.reason_length;
	*out++ = 0;
	for (unsigned i = 0; i < answer.reason_length; i++)
		*out++ = answer.reason[i];
	for (unsigned i = 0; i < answer.measurements_length; i++)
		*out++ = answer.measurements[i];
	return (unsigned long long)(unsigned)(__SIZE_TYPE__)sightline_output << 32 | (unsigned)(out - sightline_output);
}

#ifdef SIGHTLINE_CONFIGURE
const char *sightline_configure(const char *text, unsigned length);

__attribute__((export_name("configure"))) unsigned long long sightline_set_up(void)
{
	unsigned n = 0;
	const char *error = sightline_configure((const char *)sightline_input + 2, sightline_u16(sightline_input));
	if (!error)
		return 0;
	while (error[n])
		n++;
	return (unsigned long long)(unsigned)(__SIZE_TYPE__)error << 32 | n;
}
#endif

#endif
