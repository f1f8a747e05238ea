/* Rejects a part with a defect wider than the parameter, in whole pixels. */
#define SIGHTLINE_CONFIGURE
#include "../../guest/sightline_rule.h"

static unsigned limit;

const char *sightline_configure(const char *text, unsigned length)
{
	limit = 0;
	for (unsigned i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9' || limit > 100000)
			return "the width must be a whole number of pixels, as in 20";
		limit = 10 * limit + (unsigned)(text[i] - '0');
	}
	return 0;
}

void sightline_decide(struct sightline_part *part, struct sightline_answer *answer)
{
	struct sightline_evidence e;
	struct sightline_view seen;
	unsigned view = 0;
	float widest = 0;
	while (sightline_next(part, &e))
		if (e.box.w > widest && !sightline_is(e.label, "shadow")) {
			widest = e.box.w;
			view = e.view;
		}
	answer->verdict = widest <= (float)limit ? SIGHTLINE_PASS : SIGHTLINE_FAIL;
	sightline_reason(answer, answer->verdict == SIGHTLINE_PASS ? "ok" : "a defect is too wide");
	sightline_measure(answer, "width", widest, limit, "px");
	if (sightline_view(part, view, &seen) && !sightline_is(seen.camera, "top"))
		sightline_measure(answer, "picture", seen.width, seen.height, "px");
}
