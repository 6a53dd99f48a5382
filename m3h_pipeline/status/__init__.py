"""How far a study is: what is done, what runs, what remains and about how long that takes (`m3h status`)."""
