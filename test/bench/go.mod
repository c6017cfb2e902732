module github.com/sbxrun/sbxrun/test/bench

go 1.26.0

replace github.com/sbxrun/sbxrun => ../..
