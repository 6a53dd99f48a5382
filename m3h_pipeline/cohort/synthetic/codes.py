"""ICD-9-CM and ICD-10-CM codes that a synthetic cohort writes, with their official titles.

Each line: what it stands for, ICD version, code without its dot (as in MIMIC-IV), title. A task's codes are
ones that nobody would dispute. ``background`` codes belong to no task. ``trap`` codes belong to none either,
but their titles name a task's disease: family and personal history, screening, contact, newborn, "without",
and other diseases of like name.

Code titles are those that the Centers for Medicare & Medicaid Services and the National Center for Health
Statistics publish, which are in the public domain.
"""

# ruff: noqa: E501 (official titles are not broken)

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

BACKGROUND = "background"
TRAP = "trap"


@dataclass(frozen=True)
class IcdCode:
    """One diagnosis code.

    Attributes:
        kind: a task, :data:`BACKGROUND`, or :data:`TRAP`.
        version: 9 or 10.
        code: without its dot.
        title: the official long title.
    """

    kind: str
    version: int
    code: str
    title: str


@cache
def icd_codes() -> tuple[IcdCode, ...]:
    """Every code of the table, in its order."""
    codes = []
    for line in _TABLE.strip().splitlines():
        kind, version, code, title = line.split("|", 3)
        codes.append(IcdCode(kind, int(version), code, title))
    return tuple(codes)


def codes_of(kind: str, version: int) -> tuple[IcdCode, ...]:
    """The codes of a kind in one ICD version.

    Examples:
        >>> [item.code for item in codes_of("hiv_aids", 9)]
        ['042']
    """
    return tuple(item for item in icd_codes() if item.kind == kind and item.version == version)


_TABLE = """
anemia|10|D649|Anemia, unspecified
anemia|10|D509|Iron deficiency anemia, unspecified
anemia|10|D62|Acute posthemorrhagic anemia
anemia|9|2859|Anemia, unspecified
anemia|9|2809|Iron deficiency anemia, unspecified
anemia|9|2851|Acute posthemorrhagic anemia
heart_failure|10|I509|Heart failure, unspecified
heart_failure|10|I5022|Chronic systolic (congestive) heart failure
heart_failure|10|I5032|Chronic diastolic (congestive) heart failure
heart_failure|9|4280|Congestive heart failure, unspecified
heart_failure|9|42822|Chronic systolic heart failure
heart_failure|9|42832|Chronic diastolic heart failure
ischemic_heart_disease|10|I259|Chronic ischemic heart disease, unspecified
ischemic_heart_disease|10|I2510|Atherosclerotic heart disease of native coronary artery without angina pectoris
ischemic_heart_disease|9|4149|Chronic ischemic heart disease, unspecified
ischemic_heart_disease|9|41401|Coronary atherosclerosis of native coronary artery
sepsis|10|A419|Sepsis, unspecified organism
sepsis|10|R6520|Severe sepsis without septic shock
sepsis|10|R6521|Severe sepsis with septic shock
sepsis|9|99591|Sepsis
sepsis|9|99592|Severe sepsis
stroke|10|I639|Cerebral infarction, unspecified
stroke|10|I6350|Cerebral infarction due to unspecified occlusion or stenosis of unspecified cerebral artery
stroke|9|43491|Cerebral artery occlusion, unspecified with cerebral infarction
stroke|9|43411|Cerebral embolism with cerebral infarction
obesity|10|E669|Obesity, unspecified
obesity|10|E6601|Morbid (severe) obesity due to excess calories
obesity|9|27800|Obesity, unspecified
obesity|9|27801|Morbid obesity
osteoporosis|10|M810|Age-related osteoporosis without current pathological fracture
osteoporosis|10|M8000XA|Age-related osteoporosis with current pathological fracture, unspecified site, initial encounter for fracture
osteoporosis|9|73300|Osteoporosis, unspecified
osteoporosis|9|73301|Senile osteoporosis
diabetes|10|E119|Type 2 diabetes mellitus without complications
diabetes|10|E1165|Type 2 diabetes mellitus with hyperglycemia
diabetes|9|25000|Diabetes mellitus without mention of complication, type II or unspecified type, not stated as uncontrolled
diabetes|9|25002|Diabetes mellitus without mention of complication, type II or unspecified type, uncontrolled
diabetes|9|25060|Diabetes with neurological manifestations, type II or unspecified type, not stated as uncontrolled
chronic_liver_disease|10|K7460|Unspecified cirrhosis of liver
chronic_liver_disease|10|K7030|Alcoholic cirrhosis of liver without ascites
chronic_liver_disease|10|K743|Primary biliary cirrhosis
chronic_liver_disease|9|5715|Cirrhosis of liver without mention of alcohol
chronic_liver_disease|9|5712|Alcoholic cirrhosis of liver
chronic_liver_disease|9|5718|Other chronic nonalcoholic liver disease
inflammatory_bowel_disease|10|K5090|Crohn's disease, unspecified, without complications
inflammatory_bowel_disease|10|K5190|Ulcerative colitis, unspecified, without complications
inflammatory_bowel_disease|9|5559|Regional enteritis of unspecified site
inflammatory_bowel_disease|9|5550|Regional enteritis of small intestine
antimicrobial_resistance|10|Z1624|Resistance to multiple antibiotics
antimicrobial_resistance|10|Z1621|Resistance to vancomycin
antimicrobial_resistance|10|Z1611|Resistance to penicillins
antimicrobial_resistance|9|V090|Infection with microorganisms resistant to penicillins
antimicrobial_resistance|9|V0991|Infection with drug-resistant microorganisms, unspecified, with multiple drug resistance
antimicrobial_resistance|9|V0981|Infection with microorganisms with resistance to multiple drugs
bacterial_intestinal_infections|10|A0472|Enterocolitis due to Clostridium difficile, not specified as recurrent
bacterial_intestinal_infections|10|A047|Enterocolitis due to Clostridium difficile
bacterial_intestinal_infections|9|00845|Intestinal infection due to Clostridium difficile
bacterial_intestinal_infections|9|00849|Intestinal infection due to other organisms
hepatitis_bc|10|B182|Chronic viral hepatitis C
hepatitis_bc|10|B181|Chronic viral hepatitis B without delta-agent
hepatitis_bc|9|07054|Chronic hepatitis C without mention of hepatic coma
hepatitis_bc|9|07032|Chronic viral hepatitis B without mention of hepatic coma without mention of hepatitis delta
hiv_aids|10|B20|Human immunodeficiency virus [HIV] disease
hiv_aids|9|042|Human immunodeficiency virus [HIV] disease
tuberculosis|10|A150|Tuberculosis of lung
tuberculosis|10|A159|Respiratory tuberculosis unspecified
tuberculosis|9|01190|Pulmonary tuberculosis, unspecified, unspecified
tuberculosis|9|01180|Other specified pulmonary tuberculosis, unspecified
fibromyalgia|10|M797|Fibromyalgia
chronic_kidney_disease|10|N183|Chronic kidney disease, stage 3 (moderate)
chronic_kidney_disease|10|N189|Chronic kidney disease, unspecified
chronic_kidney_disease|10|N184|Chronic kidney disease, stage 4 (severe)
chronic_kidney_disease|9|5853|Chronic kidney disease, Stage III (moderate)
chronic_kidney_disease|9|5859|Chronic kidney disease, unspecified
chronic_kidney_disease|9|5854|Chronic kidney disease, Stage IV (severe)
alzheimers_disease|10|G309|Alzheimer's disease, unspecified
alzheimers_disease|10|G301|Alzheimer's disease with late onset
alzheimers_disease|9|3310|Alzheimer's disease
epilepsy|10|G40909|Epilepsy, unspecified, not intractable, without status epilepticus
epilepsy|10|G40901|Epilepsy, unspecified, not intractable, with status epilepticus
epilepsy|9|34590|Epilepsy, unspecified, without mention of intractable epilepsy
epilepsy|9|34510|Generalized convulsive epilepsy, without mention of intractable epilepsy
parkinsons_disease|10|G20|Parkinson's disease
breast_cancer|10|C50919|Malignant neoplasm of unspecified site of unspecified female breast
breast_cancer|10|C50911|Malignant neoplasm of unspecified site of right female breast
breast_cancer|10|C50912|Malignant neoplasm of unspecified site of left female breast
breast_cancer|9|1749|Malignant neoplasm of breast (female), unspecified
breast_cancer|9|1744|Malignant neoplasm of upper-outer quadrant of female breast
leukemia|10|C9200|Acute myeloblastic leukemia, not having achieved remission
leukemia|10|C9110|Chronic lymphocytic leukemia of B-cell type not having achieved remission
leukemia|9|20410|Chronic lymphoid leukemia, without mention of having achieved remission
leukemia|9|20500|Acute myeloid leukemia, without mention of having achieved remission
lymphoma|10|C8330|Diffuse large B-cell lymphoma, unspecified site
lymphoma|10|C8590|Non-Hodgkin lymphoma, unspecified, unspecified site
lymphoma|9|20280|Other malignant lymphomas, unspecified site, extranodal and solid organ sites
lymphoma|9|20270|Peripheral T cell lymphoma, unspecified site, extranodal and solid organ sites
melanoma|10|C439|Malignant melanoma of skin, unspecified
melanoma|10|C434|Malignant melanoma of scalp and neck
melanoma|9|1729|Melanoma of skin, site unspecified
melanoma|9|1725|Malignant melanoma of skin of trunk, except scrotum
prostate_cancer|10|C61|Malignant neoplasm of prostate
prostate_cancer|9|185|Malignant neoplasm of prostate
glaucoma|10|H409|Unspecified glaucoma
glaucoma|10|H4010X0|Unspecified open-angle glaucoma, stage unspecified
glaucoma|9|3659|Unspecified glaucoma
glaucoma|9|36510|Open-angle glaucoma, unspecified
macular_degeneration|10|H3530|Unspecified macular degeneration
macular_degeneration|10|H3532|Exudative age-related macular degeneration
macular_degeneration|9|36250|Macular degeneration (senile), unspecified
macular_degeneration|9|36251|Nonexudative senile macular degeneration
bipolar_disorder|10|F319|Bipolar disorder, unspecified
bipolar_disorder|10|F3181|Bipolar II disorder
bipolar_disorder|9|29680|Bipolar disorder, unspecified
bipolar_disorder|9|29689|Other bipolar disorders
major_depressive_disorder|10|F329|Major depressive disorder, single episode, unspecified
major_depressive_disorder|10|F339|Major depressive disorder, recurrent, unspecified
major_depressive_disorder|9|29620|Major depressive affective disorder, single episode, unspecified
major_depressive_disorder|9|29630|Major depressive affective disorder, recurrent episode, unspecified
schizophrenia|10|F209|Schizophrenia, unspecified
schizophrenia|10|F200|Paranoid schizophrenia
schizophrenia|9|29590|Unspecified schizophrenia, unspecified
schizophrenia|9|29530|Paranoid type schizophrenia, unspecified
asthma|10|J45909|Unspecified asthma, uncomplicated
asthma|10|J45901|Unspecified asthma with (acute) exacerbation
asthma|9|49390|Asthma, unspecified type, unspecified
asthma|9|49392|Asthma, unspecified type, with (acute) exacerbation
copd|10|J449|Chronic obstructive pulmonary disease, unspecified
copd|10|J441|Chronic obstructive pulmonary disease with (acute) exacerbation
copd|9|49121|Obstructive chronic bronchitis with (acute) exacerbation
copd|9|496|Chronic airway obstruction, not elsewhere classified
pneumonia|10|J189|Pneumonia, unspecified organism
pneumonia|10|J159|Unspecified bacterial pneumonia
pneumonia|9|486|Pneumonia, organism unspecified
pneumonia|9|4829|Bacterial pneumonia, unspecified
gout|10|M109|Gout, unspecified
gout|10|M1A9XX0|Chronic gout, unspecified, without tophus (tophi)
gout|9|2749|Gout, unspecified
gout|9|27400|Gouty arthropathy, unspecified
lupus|10|M329|Systemic lupus erythematosus, unspecified
lupus|10|M3214|Glomerular disease in systemic lupus erythematosus
lupus|9|7100|Systemic lupus erythematosus
urinary_incontinence|10|R32|Unspecified urinary incontinence
urinary_incontinence|10|N3941|Urge incontinence
urinary_incontinence|10|N3946|Mixed incontinence
urinary_incontinence|9|78830|Urinary incontinence, unspecified
urinary_incontinence|9|78831|Urge incontinence
hospital_acquired_infection|10|N390|Urinary tract infection, site not specified
hospital_acquired_infection|10|T80211A|Bloodstream infection due to central venous catheter, initial encounter
hospital_acquired_infection|10|T814XXA|Infection following a procedure, initial encounter
hospital_acquired_infection|9|5990|Urinary tract infection, site not specified
hospital_acquired_infection|9|99931|Other and unspecified infection due to central venous catheter
hospital_acquired_infection|9|99859|Other postoperative infection
trap|10|Z803|Family history of malignant neoplasm of breast
trap|10|Z131|Encounter for screening for diabetes mellitus
trap|10|Z833|Family history of diabetes mellitus
trap|10|E232|Diabetes insipidus
trap|10|N251|Nephrogenic diabetes insipidus
trap|10|I119|Hypertensive heart disease without heart failure
trap|10|Z8673|Personal history of transient ischemic attack (TIA), and cerebral infarction without residual deficits
trap|10|Z823|Family history of stroke
trap|10|T670XXA|Heatstroke and sunstroke, initial encounter
trap|10|Z8249|Family history of ischemic heart disease and other diseases of the circulatory system
trap|10|Z853|Personal history of malignant neoplasm of breast
trap|10|Z8546|Personal history of malignant neoplasm of prostate
trap|10|Z125|Encounter for screening for malignant neoplasm of prostate
trap|10|Z8611|Personal history of tuberculosis
trap|10|Z111|Encounter for screening for respiratory tuberculosis
trap|10|R7611|Nonspecific reaction to tuberculin skin test without active tuberculosis
trap|10|Z206|Contact with and (suspected) exposure to human immunodeficiency virus [HIV]
trap|10|Z114|Encounter for screening for human immunodeficiency virus [HIV]
trap|10|R75|Inconclusive laboratory evidence of human immunodeficiency virus [HIV]
trap|10|Z205|Contact with and (suspected) exposure to viral hepatitis
trap|10|Z806|Family history of leukemia
trap|10|Z856|Personal history of leukemia
trap|10|Z8572|Personal history of non-Hodgkin lymphomas
trap|10|Z8582|Personal history of malignant neoplasm of skin
trap|10|Z83511|Family history of glaucoma
trap|10|Z825|Family history of asthma and other chronic lower respiratory diseases
trap|10|Z1382|Encounter for screening for musculoskeletal disorder
trap|10|Z8262|Family history of osteoporosis
trap|10|Z820|Family history of epilepsy and other diseases of the nervous system
trap|10|Z8701|Personal history of pneumonia (recurrent)
trap|10|Z818|Family history of other mental and behavioral disorders
trap|10|Z1231|Encounter for screening mammogram for malignant neoplasm of breast
trap|10|P369|Bacterial sepsis of newborn, unspecified
trap|10|R159|Full incontinence of feces
trap|10|F21|Schizotypal disorder
trap|10|Z8042|Family history of malignant neoplasm of prostate
trap|10|P700|Syndrome of infant of mother with gestational diabetes
trap|10|C259|Malignant neoplasm of pancreas, unspecified
trap|9|V163|Family history of malignant neoplasm of breast
trap|9|V771|Screening for diabetes mellitus
trap|9|V180|Family history of diabetes mellitus
trap|9|2535|Diabetes insipidus
trap|9|5881|Nephrogenic diabetes insipidus
trap|9|40210|Benign hypertensive heart disease without heart failure
trap|9|40290|Unspecified hypertensive heart disease without heart failure
trap|9|V1254|Personal history of transient ischemic attack (TIA), and cerebral infarction without residual deficits
trap|9|V171|Family history of stroke (cerebrovascular)
trap|9|9920|Heat stroke and sunstroke
trap|9|V173|Family history of ischemic heart disease
trap|9|V103|Personal history of malignant neoplasm of breast
trap|9|V1046|Personal history of malignant neoplasm of prostate
trap|9|V7644|Screening for malignant neoplasms of prostate
trap|9|V1201|Personal history of tuberculosis
trap|9|V741|Screening examination for pulmonary tuberculosis
trap|9|79551|Nonspecific reaction to tuberculin skin test without active tuberculosis
trap|9|V7389|Special screening examination for other specified viral diseases
trap|9|V1061|Personal history of lymphoid leukemia
trap|9|V166|Family history of leukemia
trap|9|V1079|Personal history of other lymphatic and hematopoietic neoplasms
trap|9|V1082|Personal history of malignant melanoma of skin
trap|9|V175|Family history of asthma
trap|9|V8281|Special screening for osteoporosis
trap|9|V1781|Family history of osteoporosis
trap|9|V1261|Personal history of pneumonia (recurrent)
trap|9|V110|Personal history of schizophrenia
trap|9|V801|Screening for glaucoma
trap|9|77181|Septicemia [sepsis] of newborn
trap|9|78760|Full incontinence of feces
trap|9|V7611|Screening mammogram for high-risk patient
trap|9|V7612|Other screening mammogram
trap|9|1579|Malignant neoplasm of pancreas, part unspecified
background|10|I10|Essential (primary) hypertension
background|10|E785|Hyperlipidemia, unspecified
background|10|K219|Gastro-esophageal reflux disease without esophagitis
background|10|Z87891|Personal history of nicotine dependence
background|10|N179|Acute kidney failure, unspecified
background|10|F419|Anxiety disorder, unspecified
background|10|E039|Hypothyroidism, unspecified
background|10|I4891|Unspecified atrial fibrillation
background|10|J9601|Acute respiratory failure with hypoxia
background|10|E871|Hypo-osmolality and hyponatremia
background|10|D696|Thrombocytopenia, unspecified
background|10|Z7901|Long term (current) use of anticoagulants
background|10|Z794|Long term (current) use of insulin
background|10|E876|Hypokalemia
background|10|G4733|Obstructive sleep apnea (adult) (pediatric)
background|10|Z66|Do not resuscitate
background|10|K5900|Constipation, unspecified
background|10|M1990|Unspecified osteoarthritis, unspecified site
background|10|N400|Benign prostatic hyperplasia without lower urinary tract symptoms
background|10|R0902|Hypoxemia
background|10|E8770|Fluid overload, unspecified
background|10|R7881|Bacteremia
background|10|F17210|Nicotine dependence, cigarettes, uncomplicated
background|10|D72829|Elevated white blood cell count, unspecified
background|10|R079|Chest pain, unspecified
background|10|J9811|Atelectasis
background|10|J90|Pleural effusion, not elsewhere classified
background|10|E860|Dehydration
background|10|R509|Fever, unspecified
background|10|W19XXXA|Unspecified fall, initial encounter
background|10|Z515|Encounter for palliative care
background|10|R4182|Altered mental status, unspecified
background|10|Y92230|Patient room in hospital as the place of occurrence of the external cause
background|10|E872|Acidosis
background|10|I959|Hypotension, unspecified
background|10|G8929|Other chronic pain
background|10|R1310|Dysphagia, unspecified
background|10|I739|Peripheral vascular disease, unspecified
background|10|E559|Vitamin D deficiency, unspecified
background|10|R0600|Dyspnea, unspecified
background|10|G4700|Insomnia, unspecified
background|10|E8342|Hypomagnesemia
background|10|L89152|Pressure ulcer of sacral region, stage 2
background|10|I2699|Other pulmonary embolism without acute cor pulmonale
background|10|Z9981|Dependence on supplemental oxygen
background|10|Z90710|Acquired absence of both cervix and uterus
background|10|R55|Syncope and collapse
background|10|E780|Pure hypercholesterolemia
background|10|N401|Benign prostatic hyperplasia with lower urinary tract symptoms
background|10|K5730|Diverticulosis of large intestine without perforation or abscess without bleeding
background|9|4019|Unspecified essential hypertension
background|9|2724|Other and unspecified hyperlipidemia
background|9|53081|Esophageal reflux
background|9|V1582|Personal history of tobacco use
background|9|5849|Acute kidney failure, unspecified
background|9|30000|Anxiety state, unspecified
background|9|2449|Unspecified acquired hypothyroidism
background|9|42731|Atrial fibrillation
background|9|51881|Acute respiratory failure
background|9|2761|Hyposmolality and/or hyponatremia
background|9|2875|Thrombocytopenia, unspecified
background|9|V5861|Long-term (current) use of anticoagulants
background|9|V5867|Long-term (current) use of insulin
background|9|2768|Hypopotassemia
background|9|32723|Obstructive sleep apnea (adult)(pediatric)
background|9|V4986|Do not resuscitate status
background|9|56400|Constipation, unspecified
background|9|71590|Osteoarthrosis, unspecified whether generalized or localized, site unspecified
background|9|60000|Hypertrophy (benign) of prostate without urinary obstruction and other lower urinary tract symptom (LUTS)
background|9|79902|Hypoxemia
background|9|27669|Other fluid overload
background|9|7907|Bacteremia
background|9|3051|Tobacco use disorder
background|9|28860|Leukocytosis, unspecified
background|9|78650|Chest pain, unspecified
background|9|5180|Pulmonary collapse
background|9|5119|Unspecified pleural effusion
background|9|27651|Dehydration
background|9|78060|Fever, unspecified
background|9|E8889|Unspecified fall
background|9|V667|Encounter for palliative care
background|9|78097|Altered mental status
background|9|E8497|Accidents occurring in residential institution
background|9|2762|Acidosis
background|9|4589|Hypotension, unspecified
background|9|33829|Other chronic pain
background|9|78720|Dysphagia, unspecified
background|9|4439|Peripheral vascular disease, unspecified
background|9|2689|Unspecified vitamin D deficiency
background|9|78605|Shortness of breath
background|9|78052|Insomnia, unspecified
background|9|2752|Disorders of magnesium metabolism
background|9|70703|Pressure ulcer, lower back
background|9|41519|Other pulmonary embolism and infarction
background|9|V462|Other dependence on machines, supplemental oxygen
background|9|V8801|Acquired absence of both cervix and uterus
background|9|7802|Syncope and collapse
background|9|2720|Pure hypercholesterolemia
background|9|60001|Hypertrophy (benign) of prostate with urinary obstruction and other lower urinary tract symptoms (LUTS)
background|9|56210|Diverticulosis of colon (without mention of hemorrhage)
"""
