package event

import (
	"fmt"
	"strings"
)

// Cut bounds a text for an event, in bytes: what a program printed may be in it, and a line of the log has its limit too.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("... (%d bytes in all)", len(text))
}
