from rechub_cli.cli import main

raise SystemExit(main())
