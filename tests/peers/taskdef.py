"""The task definition against AWS's own model of RegisterTaskDefinition: misspelt names, missing members, wrong types.

    taskdef.py taskdef.json
"""

import json
import sys

import botocore.session
import botocore.validate


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        definition = json.load(file)
    model = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    report = botocore.validate.ParamValidator().validate(definition, model.input_shape)
    if report.has_errors():
        sys.exit(report.generate_report())
    print(f"ok: {sys.argv[1]} is a task definition")


if __name__ == "__main__":
    main()
