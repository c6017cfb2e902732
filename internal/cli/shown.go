package cli

import (
	"errors"

	"github.com/sbxrun/sbxrun/internal/mask"
)

// shownError is an error as it may be shown.
func shownError(secrets *mask.Mask, err error) error {
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[*badRecipes](err); ok { // which are shown one by one
		shown := &badRecipes{}
		for _, e := range bad.errs {
			shown.errs = append(shown.errs, shownError(secrets, e))
		}
		return shown
	}
	if shown := secrets.Text(err.Error()); shown != err.Error() {
		return &maskedError{err, shown}
	}
	return err
}

// maskedError is an error with another text.
type maskedError struct {
	err  error
	text string
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
