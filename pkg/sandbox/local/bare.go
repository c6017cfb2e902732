package local

import (
	"errors"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func (p *Provider) acquireBare(id string, spec sandbox.Spec) (*Sandbox, error) {
	return nil, errors.New("x")
}
